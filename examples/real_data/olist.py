"""Olist's marketing funnel: 8 000 first contacts with Brazilian shopkeepers by channel, and the 842 who signed up.

A first contact through a channel that somebody runs is a click on that partner's link; who came directly, or from where
nobody knows, clicked nobody's. A closed deal is the seller's sign-up. Contacts carry a date only: noon is assumed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.csv

ZONE = ZoneInfo("America/Sao_Paulo")
NOBODY = ("", "unknown", "direct_traffic", "other")
CONTACTS = "olist_marketing_qualified_leads_dataset.csv"
DEALS = "olist_closed_deals_dataset.csv"


def events(folder: Path) -> Iterator[dict[str, Any]]:
    """Clicks, then sign-ups, each in the order of its file."""
    for contact in _rows(folder / CONTACTS):
        if contact["origin"] in NOBODY:
            continue
        yield {
            "type": "click",
            "event_id": f"contact-{contact['mql_id']}",
            "occurred_at": _with_offset(f"{contact['first_contact_date']} 12:00:00"),
            "brand_id": "olist",
            "program_id": "olist-sellers",
            "partner_id": contact["origin"],
            "visitor_id": contact["mql_id"],
            "link_id": contact["landing_page_id"],
        }
    for deal in _rows(folder / DEALS):
        yield {
            "type": "sign_up",
            "event_id": f"deal-{deal['mql_id']}",
            "occurred_at": _with_offset(deal["won_date"]),
            "brand_id": "olist",
            "customer_id": deal["seller_id"],
            "visitor_id": deal["mql_id"],
        }


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a CSV file as texts, empty where it has nothing."""
    with path.open("rb") as file:
        names = file.readline().decode("utf-8-sig").strip().split(",")
    options = pyarrow.csv.ConvertOptions(column_types={name: pa.string() for name in names})
    rows: list[dict[str, Any]] = pyarrow.csv.read_csv(path, convert_options=options).to_pylist()
    return rows


def _with_offset(local: str) -> str:
    """A wall time of São Paulo with its offset. An hour that happened twice is taken the first time."""
    return datetime.fromisoformat(local).replace(tzinfo=ZONE).isoformat()
