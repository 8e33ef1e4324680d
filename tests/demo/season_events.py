"""Reads a season's exports the plain way, for the reference oracle: no code of the pipeline's readers is used."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline.demo.season import SeasonTruth

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
REQUIRED = {
    "click": {"visitor_id": str, "program_id": str, "partner_id": str},
    "sign_up": {"customer_id": str},
    "order": {"customer_id": str, "order_id": str, "amount_minor": int, "currency": str},
    "refund": {"customer_id": str, "order_id": str, "amount_minor": int, "currency": str},
}


def lines(folder: Path) -> Iterator[bytes]:
    for path in sorted((folder / "events").iterdir()):
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        yield from (line for line in content.split(b"\n") if line.strip())


def read_events(folder: Path) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Events that are well formed, in the order of the files, and the refused by reason."""
    events, refused = [], Counter[str]()
    for line in lines(folder):
        try:
            event = json.loads(line)
        except ValueError:
            refused["malformed"] += 1
            continue
        if not isinstance(event, dict) or event.get("type") not in REQUIRED:
            refused["malformed"] += 1
            continue
        event = {name: value for name, value in event.items() if value is not None and value != ""}
        if is_valid(event):
            events.append(event)
        else:
            refused["invalid_field"] += 1
    return events, refused


def is_valid(event: dict[str, Any]) -> bool:
    """Also turns the time into epoch milliseconds."""
    if isinstance(event.get("occurred_at"), str):
        try:
            event["occurred_at"] = (datetime.fromisoformat(event["occurred_at"]) - EPOCH) // timedelta(milliseconds=1)
        except ValueError:
            return False
    required = REQUIRED[event["type"]] | {"event_id": str, "brand_id": str, "occurred_at": int}
    if any(type(event.get(name)) is not kind for name, kind in required.items()):
        return False
    in_range = event["occurred_at"] >= 0 and 0 <= event.get("amount_minor", 0) < 2**63
    return in_range and isinstance(event.get("country", ""), str)


def answers(outcomes: dict[str, list[dict[str, Any]]], refused: Counter[str], sql: str) -> list[tuple[Any, ...]]:
    """What a query of the season's topics finds in the oracle's outcomes."""
    rows = outcomes["attributions"]
    credited = [row for row in rows if row["partner_id"]]
    if "current_clicks" in sql:
        events = [(what, len(outcomes[what.replace("-", "_")])) for what in ("clicks", "sign-ups", "orders", "refunds")]
        return [*events, ("refunds of unknown orders", sum(not refund["matched"] for refund in outcomes["refunds"]))]
    if "current_dead_letters" in sql:
        return list((refused + Counter(row["reason"] for row in outcomes["dead_letters"])).items())
    if "current_milestones" in sql:
        columns = ["program_id", "milestone_id", "scope_key", "period", "status", "count", "reached_at", "revoked_at"]
        return [tuple(row[column] for column in columns) for row in outcomes["milestones"]]
    if "current_ledger_entries" in sql:
        return totals(outcomes["ledger_entries"], "program_id partner_id kind", "amount_minor")
    if "reason != ''" in sql:
        return totals([row for row in outcomes["referrals"] if row["reason"]], "program_id reason")
    if "current_referrals" in sql:
        return totals(outcomes["referrals"], "program_id partner_id status")
    if "partner_id = ''" in sql:
        return totals([row for row in rows if not row["partner_id"]], "brand_id conversion_type")
    if "model" in sql:
        return totals(credited, "program_id model")
    return totals(credited, "program_id partner_id conversion_type", "", "share_bps")


def totals(rows: list[dict[str, Any]], columns: str, *values: str) -> list[tuple[Any, ...]]:
    """Rows by columns with, for each value, its sum ("" is a count; none at all is one count)."""
    sums: dict[tuple[Any, ...], list[int]] = {}
    for row in rows:
        key = tuple(row[column] for column in columns.split())
        so_far = sums.setdefault(key, [0] * max(len(values), 1))
        for place, value in enumerate(values or ("",)):
            so_far[place] += row[value] if value else 1
    return [(*key, *figures) for key, figures in sums.items()]


def figures(truth: SeasonTruth, topic: str) -> dict[str, Any]:
    return {"|".join(key): figure for key, figure in truth.figures[topic].items()}
