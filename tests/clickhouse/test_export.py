"""JSON Lines files: what stands, in order, complete."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.clickhouse.export import export_jsonl
from pipeline.clickhouse.tables import TABLES
from pipeline.clickhouse.warehouse import Warehouse

AT = 1_767_225_600_123


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_table_has_a_file_even_an_empty_one(warehouse: Warehouse, tmp_path: Path) -> None:
    counts = export_jsonl(warehouse, tmp_path / "new" / "out's")
    assert counts == dict.fromkeys(TABLES, 0)
    assert sorted(path.name for path in (tmp_path / "new" / "out's").iterdir()) == sorted(
        f"{name}.jsonl" for name in TABLES
    )


def test_rows_are_in_key_order_with_integer_times(warehouse: Warehouse, tmp_path: Path) -> None:
    columns = ["program_id", "customer_id", "partner_id", "status", "qualified_at", "terms_version", "as_of", "version"]
    for customer in ("ü", "b", "B", "a/\"<&>'\\", "a"):
        for version in (2, 1):
            row = ("p", customer, "bakery", f"v{version}", None if customer == "b" else AT, 1, AT + version, version)
            warehouse.insert_rows("referrals", [row], columns)
    warehouse.insert_rows("referrals", [("p", "gone", "bakery", "x", None, 1, AT, 1, 1)], [*columns, "is_deleted"])
    assert export_jsonl(warehouse, tmp_path)["referrals"] == 5
    rows = lines(tmp_path / "referrals.jsonl")
    assert [row["customer_id"] for row in rows] == ["B", "a", "a/\"<&>'\\", "b", "ü"]  # by UTF-8 bytes
    assert rows[3] == {
        "program_id": "p",
        "customer_id": "b",
        "partner_id": "bakery",
        "status": "v2",
        "reason": "",
        "signed_up_at": None,
        "qualified_at": None,
        "reversed_at": None,
        "terms_version": 1,
        "as_of": AT + 2,
    }
    assert rows[0]["qualified_at"] == AT


def test_numbers_and_truth_keep_their_kind(warehouse: Warehouse, tmp_path: Path) -> None:
    warehouse.insert_rows(
        "refunds",
        [("b", "c", "e", AT, 2**63 - 1, True)],
        ["brand_id", "customer_id", "event_id", "occurred_at", "amount_minor", "matched"],
    )
    warehouse.insert_rows(
        "milestones",
        [("p", "m", "a+b", "all", 2**70, AT)],
        ["program_id", "milestone_id", "scope_key", "period", "count", "as_of"],
    )
    export_jsonl(warehouse, tmp_path)
    [refund], [milestone] = lines(tmp_path / "refunds.jsonl"), lines(tmp_path / "milestones.jsonl")
    assert refund["amount_minor"] == 2**63 - 1
    assert refund["matched"] is True
    assert milestone["count"] == 2**70
    assert not list(tmp_path.glob(".*"))


def test_a_second_export_replaces_the_first_and_equals_it(warehouse: Warehouse, tmp_path: Path) -> None:
    names = ["brand_id", "visitor_id", "event_id", "occurred_at"]
    for start in (500, 0, 250):
        warehouse.insert_rows("clicks", [("b", f"v{i % 7}", f"e{i}", AT + i) for i in range(start, start + 500)], names)
    assert export_jsonl(warehouse, tmp_path)["clicks"] == 1000
    first = (tmp_path / "clicks.jsonl").read_bytes()
    warehouse.settle(["clicks"])
    assert export_jsonl(warehouse, tmp_path)["clicks"] == 1000
    assert (tmp_path / "clicks.jsonl").read_bytes() == first


def test_what_a_kill_left_is_replaced(warehouse: Warehouse, tmp_path: Path) -> None:
    (tmp_path / ".clicks.jsonl.part").write_bytes(b'{"cut off')
    export_jsonl(warehouse, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{table}.jsonl" for table in TABLES)
