"""Online Retail II: the orders and cancellations of a British gift shop, December 2009 to December 2010 (or 2011).

Orders, customers, amounts and times are the shop's own. It did not record who sent a customer, nor sign-ups: those are
made up by a rule that depends on the customer's number and the seed alone.

- An invoice is an order. A line of a cancellation (``C…``) is taken off the customer's latest earlier order of that
  article, else off the latest earlier order; where there is none it stays a refund of an order that nobody knows.
- The sign-up is five minutes before a customer's first order.
- 45 in 100 customers come on their own. The others clicked one, two or three partners' links, each up to 20 days before
  the sign-up, but one in ten of them 40 to 60 days before it, which is too early to count.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

ZONE = ZoneInfo("Europe/London")
PARTNERS = {"tea-room": 30, "card-shop": 25, "craft-fair": 20, "gift-blog": 15, "candle-maker": 10}
NAMES = {"InvoiceNo": "Invoice", "UnitPrice": "Price", "CustomerID": "Customer ID"}
COLUMNS = ("Invoice", "StockCode", "Quantity", "InvoiceDate", "Price", "Customer ID")


@dataclass
class Invoice:
    """The lines of one invoice: article and amount in pounds."""

    number: str
    customer: str
    at: datetime
    lines: list[tuple[str, Decimal]] = field(default_factory=list)

    @property
    def pence(self) -> int:
        """The sum of all lines."""
        return _pence(sum((amount for _, amount in self.lines), Decimal(0)))


def events(path: Path, seed: str = "2026") -> Iterator[dict[str, Any]]:
    """Orders and refunds as they are, sign-ups and clicks by the rule. Lines without a customer are left out."""
    orders: dict[str, list[Invoice]] = defaultdict(list)
    cancellations = []
    for invoice in _invoices(path):
        if invoice.number.startswith("C"):
            cancellations.append(invoice)
        elif invoice.pence > 0:
            orders[invoice.customer].append(invoice)
    for customer, invoices in sorted(orders.items()):
        invoices.sort(key=lambda invoice: (invoice.at, invoice.number))
        yield from _arrival(customer, invoices[0].at, seed)
        for invoice in invoices:
            yield _event("order", invoice.number, invoice.at, invoice) | {
                "order_id": invoice.number,
                "amount_minor": invoice.pence,
                "visitor_id": f"v-{customer}",
            }
    for cancellation in cancellations:
        for order_id, amount in _taken_off(cancellation, orders[cancellation.customer]).items():
            pence = _pence(-amount)
            if pence > 0:
                event_id = f"{cancellation.number}-{order_id}"
                yield _event("refund", event_id, cancellation.at, cancellation) | {
                    "order_id": order_id,
                    "amount_minor": pence,
                    "reason": "cancellation",
                }


def _event(event_type: str, event_id: str, at: datetime, invoice: Invoice) -> dict[str, Any]:
    return {
        "type": event_type,
        "event_id": event_id,
        "occurred_at": at.isoformat(),
        "brand_id": "gift-shop",
        "customer_id": invoice.customer,
        "currency": "GBP",
    }


def _taken_off(cancellation: Invoice, orders: list[Invoice]) -> dict[str, Decimal]:
    """Order to the (negative) amount that a cancellation takes off it; its own number where no order is known."""
    amounts: dict[str, Decimal] = defaultdict(Decimal)
    earlier = [order for order in orders if order.at <= cancellation.at]
    for article, amount in cancellation.lines:
        of_article = [order for order in earlier if any(article == each for each, _ in order.lines)]
        found = (of_article or earlier)[-1:]
        amounts[found[0].number if found else cancellation.number] += amount
    return amounts


def _arrival(customer: str, first_order_at: datetime, seed: str) -> Iterator[dict[str, Any]]:
    """The made-up part: who sent the customer, and the sign-up."""
    digest = hashlib.sha256(f"{seed}|{customer}".encode()).digest()
    rng = Random(int.from_bytes(digest[:8], "big"))  # noqa: S311 - a made-up story, not a secret
    at = first_order_at - timedelta(minutes=5)
    visitor_id = f"v-{customer}"
    if rng.random() >= 0.45:
        too_early = rng.random() < 0.1
        for number in range(rng.choice((1, 1, 1, 2, 2, 3))):
            days = rng.uniform(40, 60) if too_early else rng.uniform(0.01, 20)
            (partner,) = rng.choices(list(PARTNERS), list(PARTNERS.values()))
            yield {
                "type": "click",
                "event_id": f"click-{customer}-{number}",
                "occurred_at": (at - timedelta(days=days)).isoformat(timespec="milliseconds"),
                "brand_id": "gift-shop",
                "program_id": "gift-shop-friends",
                "partner_id": partner,
                "visitor_id": visitor_id,
            }
    yield {
        "type": "sign_up",
        "event_id": f"sign-up-{customer}",
        "occurred_at": at.isoformat(),
        "brand_id": "gift-shop",
        "customer_id": customer,
        "visitor_id": visitor_id,
    }


def _invoices(path: Path) -> list[Invoice]:
    """Invoices with a customer, in the order of the file."""
    found: dict[tuple[str, str], Invoice] = {}
    for row in _table(path).to_pylist():
        if row["Customer ID"] is None:
            continue
        customer, number = str(int(row["Customer ID"])), row["Invoice"]
        invoice = found.get((number, customer))
        if invoice is None:
            at = datetime.fromisoformat(str(row["InvoiceDate"])).replace(tzinfo=ZONE)
            invoice = found[number, customer] = Invoice(number, customer, at)
        invoice.lines.append((row["StockCode"], row["Quantity"] * Decimal(str(row["Price"]))))
    return list(found.values())


def _table(path: Path) -> pa.Table:
    """The columns that matter, under the names of the second edition. KeyError if one is missing."""
    if path.suffix == ".parquet":
        table = pyarrow.parquet.read_table(path)
    else:
        texts = pyarrow.csv.ConvertOptions(
            column_types={name: pa.string() for name in ("Invoice", "InvoiceNo", "StockCode")}
        )
        table = pyarrow.csv.read_csv(path, convert_options=texts)
    return table.rename_columns([NAMES.get(name, name) for name in table.column_names]).select(COLUMNS)


def _pence(pounds: Decimal) -> int:
    return int((pounds * 100).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))
