"""Two exports row by row: exactly what differs is told, with key, columns and both rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.audit.differences import Difference, differences
from pipeline.clickhouse.tables import TABLES

REFERRALS = TABLES["referrals"]


def referral(customer: str, **changed: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "program_id": "p", "customer_id": customer, "partner_id": "bakery", "status": "pending", "reason": "",
        "signed_up_at": 1, "qualified_at": None, "reversed_at": None, "terms_version": 1, "as_of": 5,
    }  # fmt: skip
    return {**row, **changed}


def told(folder: Path, expected: list[dict[str, Any]], found: list[dict[str, Any]]) -> list[Difference]:
    paths = []
    for name, rows in (("expected", expected), ("found", found)):
        paths.append(folder / f"{name}.jsonl")
        paths[-1].write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return list(differences(REFERRALS, *paths))


def test_equal_rows_are_not_told(tmp_path: Path) -> None:
    rows = [referral("a"), referral("b")]
    assert told(tmp_path, rows, rows) == []
    assert told(tmp_path, [], []) == []


def test_missing_extra_and_different_rows_are_told_in_order(tmp_path: Path) -> None:
    expected = [referral("a"), referral("c"), referral("d"), referral("\uffee")]
    found = [referral("b"), referral("c", status="qualified", qualified_at=7), referral("d"), referral("\U0001d51e")]
    assert [(each.kind, each.key["customer_id"], each.columns()) for each in told(tmp_path, expected, found)] == [
        ("missing", "a", []),
        ("extra", "b", []),
        ("different", "c", ["status", "qualified_at"]),
        ("missing", "\uffee", []),
        ("extra", "\U0001d51e", []),
    ]


def test_a_line_holds_both_rows(tmp_path: Path) -> None:
    (difference,) = told(tmp_path, [referral("a")], [referral("a", partner_id="roaster")])
    assert json.loads(difference.as_json()) == {
        "table": "referrals", "difference": "different", "key": {"program_id": "p", "customer_id": "a"},
        "columns": ["partner_id"], "expected": referral("a"), "found": referral("a", partner_id="roaster"),
    }  # fmt: skip


@pytest.mark.parametrize("side", [0, 1])
def test_whether_integers_are_quoted_does_not_matter(tmp_path: Path, side: int) -> None:
    rows = [[referral("a")], [referral("a")]]
    rows[side] = [referral("a", terms_version="1", as_of="5")]
    assert told(tmp_path, *rows) == []
