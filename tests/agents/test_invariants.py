"""The running checks: silent on what is right, loud on rows and ledgers that are made wrong, and cheap."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any

import pyarrow as pa
import pytest

from pipeline.agents import earnings, invariants
from pipeline.agents.intake import Intake, Taken
from pipeline.agents.invariants import check_attributions, check_records
from pipeline.agents.outlet import Output
from pipeline.domain import earnings as folding
from pipeline.domain.rows import AttributionRow
from pipeline.metrics import INVARIANTS
from pipeline.steps.credit import CreditStep, Derived
from pipeline.wire.admission import DeadLetter
from tests.agents.options import options_of
from tests.agents.simulation import ScheduleError, Simulation

Counts = Counter[tuple[str, str]]


def row(conversion: str, partner: str, share_bps: int, *, deleted: bool = False, **other: Any) -> tuple[Any, ...]:
    credited = {"program_id": "acme-friends", "model": "linear", "terms_version": 1} if partner else {}
    values = {
        "brand_id": "acme", "conversion_type": "order", "customer_id": "c1", "conversion_id": conversion,
        "partner_id": partner, "program_id": "", "order_id": f"of-{conversion}", "link_id": "", "click_id": "",
        "share_bps": share_bps, "model": "", "converted_at": 1, "terms_version": 0, "explanation": "", "as_of": 1,
        **credited, **other,
    }  # fmt: skip
    return (*AttributionRow(**values), 1, int(deleted))


def violations(*rows: tuple[Any, ...]) -> Counts:
    counts: Counts = Counter()
    check_attributions(counts, rows)
    return counts


def test_whole_shared_and_no_credit_are_right_and_so_is_credit_that_moved() -> None:
    assert not violations(
        row("e1", "bakery", 10_000), row("e2", "bakery", 3_333), row("e2", "roaster", 6_667), row("e3", "", 0),
        row("e1", "roaster", 0, deleted=True), row("e4", "bakery", 10_000, deleted=True),
        row("e5", "bakery", 10_000, conversion_type="sign_up", order_id=""),
        row("e6", "bakery", 10_000, conversion_type="sign_up", order_id="", customer_id="c2"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "invariant"),
    [
        ([row("e1", "bakery", 9_999)], "shares_sum"),
        ([row("e1", "bakery", 10_000), row("e1", "roaster", 1)], "shares_sum"),
        ([row("e1", "bakery", 5_000), row("e1", "roaster", 5_001)], "shares_sum"),
        ([row("e1", "bakery", 10_000), row("e1", "roaster", 0)], "shares_sum"),
        ([row("e1", "bakery", 5_000), row("e1", "roaster", 5_000, program_id="other")], "credited_once"),
        ([row("e1", "bakery", 10_000), row("e2", "bakery", 10_000, order_id="of-e1")], "credited_once"),
    ],
)
def test_wrong_credit_is_noticed(rows: list[tuple[Any, ...]], invariant: str) -> None:
    assert violations(*rows) == {("violated", invariant): 1}


def test_no_customer_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[dict[str, Any]] = []

    class Log:
        def error(self, _: str, **where: Any) -> None:
            said.append(where)

    monkeypatch.setattr(invariants, "log", Log())
    violations(
        row("e1", "bakery", 9_999), row("e2", "bakery", 5_000), row("e2", "b", 5_000, program_id="p", order_id="of-e1")
    )  # fmt: skip
    assert {each["invariant"] for each in said} == {"shares_sum", "credited_once"}
    assert "c1" not in str(said)


def test_records_are_in_exactly_one_outcome() -> None:
    letter, output = DeadLetter("s", 1, "malformed", b""), Output("t", 0, b"", b"")
    events = pa.table({"event_id": ["a", "b"]})
    for records, repeats, is_right in ((5, 0, True), (5, 2, True), (6, 0, False), (4, 0, False), (5, 3, False)):
        counts: Counts = Counter()
        check_records(counts, "click", Taken(events, records, None, [letter], [letter], [output]), repeats)
        assert counts == ({} if is_right else {("violated", "records_accounted"): 1})


def _forgets_a_record(real: Any) -> Any:
    def take(self: Intake, *arguments: Any) -> Taken:
        taken: Taken = real(self, *arguments)
        taken.events = taken.events.slice(1)
        return taken

    return take


def _credits_too_much(real: Any) -> Any:
    def derive(self: CreditStep, *arguments: Any) -> Derived:
        derived: Derived = real(self, *arguments)
        rows = derived.rows.tables.get("attributions", [])
        place = AttributionRow._fields.index("share_bps")
        rows[:] = [(*each[:place], each[place] + 1 if each[place] else 0, *each[place + 1 :]) for each in rows]
        return derived

    return derive


def _enters_twice(real: Any) -> Any:
    def enter(self: Any, kind: str, partner_id: str, amount_minor: int, *arguments: Any, **options: Any) -> None:
        real(self, kind, partner_id, 2 * amount_minor, *arguments, **options)

    return enter


@pytest.mark.parametrize(
    ("owner", "name", "defect", "invariant"),
    [
        (Intake, "take", _forgets_a_record, "records_accounted"),
        (CreditStep, "derive", _credits_too_much, "shares_sum"),
        (folding._Fold, "enter", _enters_twice, "balance_equals_entries"),
    ],
)
def test_the_running_pipeline_notices(
    owner: Any, name: str, defect: Any, invariant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mistakes seeded into the code, and nothing else is said to be wrong."""
    assert invariant in INVARIANTS
    monkeypatch.setattr(earnings, "CHECKED_OF", 1)
    monkeypatch.setattr(owner, name, defect(getattr(owner, name)))
    for seed in range(20):
        simulation = Simulation(options_of(seed, kills=False, zombies=False))
        with contextlib.suppress(ScheduleError):
            simulation.run()
        found = {what for counts in simulation.all_counts for kind, what in counts if kind == "violated"}
        if found:
            assert found == {invariant}
            return
    pytest.fail("nobody noticed")
