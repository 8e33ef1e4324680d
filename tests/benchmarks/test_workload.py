import itertools
import json
from pathlib import Path

import fastavro
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from benchmarks.formats import write
from benchmarks.terms import write_terms
from benchmarks.workload import CHUNK, Facts, Workload
from pipeline.terms_files import load_catalogue


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return pa.concat_tables(Workload(CHUNK + 20_000, seed=3).chunks())


def test_it_has_exactly_as_many_records_as_asked_for():
    sizes = [len(chunk) for chunk in Workload(CHUNK + 1_234).chunks()]
    assert sizes == [CHUNK, 1_234]


def test_a_seed_makes_the_same_events():
    first, again, other = (next(Workload(5_000, seed).chunks()) for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)


def test_the_mix_is_as_told(table: pa.Table):
    counts = {row["values"]: row["counts"] / len(table) for row in pc.value_counts(table["type"]).to_pylist()}
    assert counts == pytest.approx({"click": 0.94, "sign_up": 0.04, "order": 0.016, "refund": 0.004}, abs=0.002)
    repeats = 1 - pc.count_distinct(table["event_id"]).as_py() / len(table)
    assert repeats == pytest.approx(0.01, abs=0.002)
    newest = itertools.accumulate(table["occurred_at"].to_pylist(), max)
    late = sum(at < so_far for at, so_far in zip(table["occurred_at"].to_pylist(), newest, strict=True))
    assert late / len(table) == pytest.approx(0.10, abs=0.02)
    bad = pc.sum(pc.or_(pc.equal(table["visitor_id"], ""), pc.equal(table["partner_id"], "partner-x"))).as_py()
    assert bad / len(table) == pytest.approx(0.0005, abs=0.0002)


def test_events_connect(table: pa.Table):
    def of(event_type: str) -> pa.Table:
        return table.filter(pc.equal(table["type"], event_type))

    def known(column: pa.ChunkedArray, values: pa.ChunkedArray) -> float:
        return pc.mean(pc.is_in(column.drop_null(), values.combine_chunks()).cast("int8")).as_py()

    clicks, sign_ups, orders, refunds = (of(each) for each in ("click", "sign_up", "order", "refund"))
    assert known(sign_ups["visitor_id"], clicks["visitor_id"]) > 0.7
    assert known(sign_ups["click_id"], clicks["event_id"]) > 0.98
    assert known(orders["customer_id"], sign_ups["customer_id"]) > 0.7
    assert known(refunds["order_id"], orders["order_id"]) > 0.95
    assert pc.count_distinct(sign_ups["customer_id"]).as_py() > 0.98 * len(sign_ups)


def test_the_terms_are_valid(tmp_path: Path):
    assert len(load_catalogue(write_terms(tmp_path)).programs) == 4


def test_the_formats_hold_the_same_events(tmp_path: Path):
    def plain(event: dict[str, object]) -> str:
        kept = {name: value for name, value in event.items() if value is not None and name != "type"}
        return json.dumps(kept, sort_keys=True)

    paths = [write(Workload(3_000).chunks(), tmp_path, name) for name in ("parquet", "jsonl", "avro")]
    in_parquet = [plain(event) for event in pq.read_table(paths[0]).to_pylist()]
    in_jsonl = [plain(orjson.loads(line)) for line in paths[1].read_bytes().splitlines()]
    in_avro = []
    for path in paths[2].iterdir():
        with path.open("rb") as file:
            for event in fastavro.reader(file):
                event["occurred_at"] = round(event["occurred_at"].timestamp() * 1000)
                in_avro.append(plain(event))
    assert in_parquet == in_jsonl
    assert sorted(in_parquet) == sorted(in_avro)


def test_facts_count_what_stands():
    facts = Facts()
    chunks = list(facts.counted(Workload(20_000).chunks()))
    table = pa.concat_tables(chunks)
    clicks = table.filter(pc.equal(table["type"], "click"))
    assert facts.records == 20_000
    assert facts.open_clicks < facts.clicks < pc.count_distinct(clicks["event_id"]).as_py()
