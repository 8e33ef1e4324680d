"""Figures and dates as people write them: money in its currency, dates on the program's clock, spans in words."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Final

from babel.dates import format_date, format_datetime, get_month_names
from babel.numbers import format_currency, format_decimal, format_percent, get_currency_precision, get_currency_symbol

from pipeline.domain.calendar import zone_info

LOCALE: Final = "en_GB"

NONE: Final = "\N{EN DASH}"
"""What stands where there is no figure."""

_QUARTERS: Final = {"1": "January to March", "2": "April to June", "3": "July to September", "4": "October to December"}
_SPANS: Final = (
    (7 * 86_400_000, "week"),
    (86_400_000, "day"),
    (3_600_000, "hour"),
    (60_000, "minute"),
    (1000, "second"),
)


def plain(number: int) -> str:
    """``12,345``."""
    return format_decimal(number, locale=LOCALE)


def counted(number: int, one: str, many: str) -> str:
    """``1 order``, ``12 orders``."""
    return f"{plain(number)} {one if number == 1 else many}"


def percent(part: int, whole: int) -> str:
    """``3.4 %`` of the whole; a dash where there is none."""
    return NONE if whole == 0 else format_percent(part / whole, format="#,##0.0 %", locale=LOCALE)


def rate(bps: int) -> str:
    """``12.5 %``."""
    return format_percent(Decimal(bps) / 10_000, format="#,##0.## %", locale=LOCALE)


def money(amount_minor: int, currency: str) -> str:
    """``£1,234.50``; minor units as ISO 4217 has them."""
    return format_currency(major(amount_minor, currency), currency, locale=LOCALE)


def major(amount_minor: int, currency: str) -> Decimal:
    """An amount in the currency's main unit."""
    return Decimal(amount_minor).scaleb(-get_currency_precision(currency))


def symbol(currency: str) -> str:
    """``£``."""
    return get_currency_symbol(currency, locale=LOCALE)


def local(at: datetime | int, zone: str) -> datetime:
    """An instant (a datetime, or epoch seconds) on a program's clock."""
    return datetime.fromtimestamp(at, zone_info(zone)) if isinstance(at, int) else at.astimezone(zone_info(zone))


def day(at: datetime | int | date, zone: str) -> str:
    """``31 Mar 2026``."""
    shown = local(at, zone).date() if isinstance(at, datetime | int) else at
    return format_date(shown, "d MMM y", locale=LOCALE)


def moment(at_ms: int, zone: str) -> str:
    """``31 March 2026, 12:59``."""
    return format_datetime(datetime.fromtimestamp(at_ms // 1000, zone_info(zone)), "d MMMM y, HH:mm", locale=LOCALE)


def period(label: str) -> str:
    """A period of the contract in words: ``2026-Q1`` is ``January to March 2026``."""
    if label == "all":
        return "since the start"
    year, _, rest = label.partition("-")
    if not rest:
        return year
    if rest.startswith("Q"):
        return f"{_QUARTERS[rest[1:]]} {year}"
    if rest.startswith("W"):
        return f"week {int(rest[1:])} of {year}"
    if "-" in rest:
        return format_date(date.fromisoformat(label), "d MMMM y", locale=LOCALE)
    return f"{get_month_names(locale=LOCALE)[int(rest)]} {year}"


def span(length_ms: int) -> str:
    """``30 days``, ``36 hours``: in the largest unit but weeks that leaves no rest."""
    for unit_ms, name in _SPANS[1:]:
        if length_ms and length_ms % unit_ms == 0:
            return counted(length_ms // unit_ms, name, f"{name}s")
    return f"{length_ms} milliseconds" if length_ms else "no time"


def capital(text: str) -> str:
    """With a capital first letter."""
    return text[:1].upper() + text[1:]


def named(identifier: str) -> str:
    """An id as a heading: ``forty-in-a-quarter`` is ``Forty in a quarter``."""
    text = identifier.replace("-", " ").replace("_", " ").strip() or identifier
    return capital(text)


def listed(names: list[str]) -> str:
    """``A``, ``A and B``, ``A, B and C``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def minor(amount: float, currency: str) -> int:
    """An amount of the main unit back in minor units."""
    return round(Decimal(str(amount)).scaleb(get_currency_precision(currency)))
