"""A seeded stream of referral events of any length, made chunk by chunk in bounded memory.

    python benchmarks/workload.py --events 1000000 --out load/ --format parquet

94 % clicks, 4 % sign-ups, 1.6 % orders, 0.4 % refunds of four programs of three brands with fifty partners each, over
ninety days, in the order of arrival. 10 % of the events arrive out of order, 1 % are repeats, 0.1 % are bad.

Nothing is remembered from chunk to chunk: visitor v is born at event 2.5·v and clicks 2.6 times on average, sign-up s
is that of one visitor in ten, order o and its amount are functions of o. So sign-ups, orders and refunds name visitors,
customers and orders of long before, and a stream of ten million takes no more memory than one of a hundred thousand.
Four sign-ups in five have a click before them: by minutes, hours, days or weeks, in equal parts.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.formats import FORMATS, write
from benchmarks.ids import customer_ids, hashes, mixed, order_ids, ulids, uniform, visitor_ids
from benchmarks.terms import BRANDS, CURRENCY, PARTNERS, PROGRAMS, WINDOW_DAYS, write_terms

CHUNK: Final = 100_000
START_MS: Final = 1_767_225_600_000  # 2026-01-01T00:00:00Z
DAYS: Final = 90
DAY_MS: Final = 86_400_000
VISITORS_AN_EVENT: Final = 0.4
SIGN_UPS, ORDERS, REFUNDS = 40, 16, 4
"""In a thousand events; the rest are clicks."""
BAD: Final = 1
"""In a thousand events."""
STRANGER: Final = 2**40
"""Numbers from here on are visitors and customers without a click."""

Ints = npt.NDArray[np.int64]
Rng = np.random.Generator
_CAMPAIGNS: Final = ("spring", "newsletter", "reel", "packaging-qr", "blog", "podcast", "bundle", "gift-guide")
_COUNTRIES: Final = ("GB", "US", "DE", "FR", "NL", "SE", "ES", "IT", "IE", "BE", "CA", "AU")
_AGENTS: Final = tuple(
    f"Mozilla/5.0 ({system}) {browser}/{version}.0"
    for system in ("iPhone; CPU iPhone OS 18_5 like Mac OS X", "Linux; Android 15", "Windows NT 10.0; Win64; x64")
    for browser, version in (("Safari", 605), ("Chrome", 141), ("Chrome", 142), ("Firefox", 143))
)
_PARTNER_WEIGHTS: Final = 1 / np.arange(1, len(PARTNERS) + 1) ** 0.8
_PARTNER_EDGES: Final = np.cumsum(_PARTNER_WEIGHTS / _PARTNER_WEIGHTS.sum())


@dataclass(frozen=True)
class Workload:
    """``events`` records from a seed; :meth:`chunks` makes them."""

    events: int
    seed: int = 1

    def chunks(self) -> Iterator[pa.Table]:
        """Tables of up to :data:`CHUNK` rows in the order of arrival: ``type``, then every field, null where absent."""
        for number in range(-(-self.events // CHUNK)):
            yield self._chunk(number)

    @cached_property
    def events_a_day(self) -> float:
        return self.events / DAYS

    @cached_property
    def sign_up_lags(self) -> Ints:
        """How many sign-ups after its visitor's birth a sign-up comes, by class: minutes, hours, days, weeks.

        Multiples of four, so that the classes (a number's rest by four) never meet.
        """
        days = np.array([10 / 1440, 3 / 24, 2, 12])
        return np.maximum(1, days * self.events_a_day * SIGN_UPS / 1000 / 4).astype(np.int64) * 4

    def _chunk(self, number: int) -> pa.Table:
        first, count = number * CHUNK, min(CHUNK, self.events - number * CHUNK)
        rng = np.random.default_rng([self.seed, number])
        counts = [count * share // 1000 for share in (SIGN_UPS, ORDERS, REFUNDS)]
        positions = rng.permutation(count)
        bounds = list(itertools.accumulate([0, count - sum(counts), *counts]))
        at = [np.sort(positions[low:high]) for low, high in itertools.pairwise(bounds)]
        moments = self._moments(rng, first, count)
        clicks = self._clicks(rng, first + at[0], moments[at[0]])
        tables = [
            clicks.table(rng),
            self._sign_ups(rng, clicks, first * SIGN_UPS // 1000, at[1] + first, moments[at[1]]),
            self._orders(rng, first * ORDERS // 1000 + np.arange(len(at[2])), moments[at[2]]),
            self._refunds(rng, first * ORDERS // 1000, first * REFUNDS // 1000, moments[at[3]]),
        ]
        rows = np.empty(count, dtype=np.int64)
        rows[np.concatenate(at)] = np.arange(count)
        again = rng.choice(np.arange(1, count), size=count // 100, replace=False)  # 1 % repeat something shortly before
        rows[again] = rows[np.maximum(0, again - 1 - rng.geometric(1 / 500, size=len(again)))]
        return pa.concat_tables(tables, promote_options="default").take(pa.array(rows)).combine_chunks()

    def _moments(self, rng: Rng, first: int, count: int) -> Ints:
        """When each event happened: one in ten did so well before its turn."""
        moments = START_MS + ((first + np.arange(count)) / self.events * DAYS * DAY_MS).astype(np.int64)
        late = rng.random(count) < 0.10
        delay = rng.exponential(60_000, count)  # a minute; one late event in four an hour; one in twenty half a day
        roll = rng.random(count)
        delay = np.where(roll < 0.25, delay * 60, delay)
        delay = np.where(roll < 0.05, delay * 12, delay)
        delay += 2 * DAYS * DAY_MS / self.events  # at least two turns, or it would not be out of order
        return np.maximum(START_MS, moments - np.where(late, delay, 0).astype(np.int64))

    def _clicks(self, rng: Rng, place: Ints, at_ms: Ints) -> Clicks:
        """A visitor clicks at its birth, and again within hours or days."""
        count = len(place)
        roll = rng.random(count)
        spread = np.where(roll < 0.55, 50, np.where(roll < 0.85, 0.2 * self.events_a_day, 4 * self.events_a_day))
        born = place - rng.exponential(1, count) * spread
        visitor = np.abs(born * VISITORS_AN_EVENT).astype(np.int64)
        program = np.where((visitor % 3 == 0) & (rng.random(count) < 0.35), 3, visitor % 3)
        loyal = rng.random(count) < 0.7
        partner = np.searchsorted(_PARTNER_EDGES, np.where(loyal, uniform(visitor, 7), rng.random(count)))
        return Clicks(place, at_ms, visitor, program, np.minimum(partner, len(PARTNERS) - 1))

    def visitor_of(self, customer: Ints) -> Ints:
        """The visitor behind each customer: one visitor in ten signs up, some time after its birth."""
        born = customer - self.sign_up_lags[customer % 4]
        visitor = born * 10 + (mixed(customer, 11) % np.uint64(10)).astype(np.int64)
        return np.where((born < 0) | (customer >= STRANGER), STRANGER + customer % STRANGER, visitor)

    def _sign_ups(self, rng: Rng, clicks: Clicks, first: int, place: Ints, at_ms: Ints) -> pa.Table:
        customer = first + np.arange(len(place))
        visitor = self.visitor_of(customer)
        brand = visitor % 3
        chosen = clicks.shortly_before(rng, place, brand)
        names_click = (rng.random(len(place)) < 0.2) & (chosen >= 0)
        visitor = np.where(names_click, clicks.visitor[chosen], visitor)
        code = pa.array(_coupon_codes()).take(pa.array(rng.integers(0, len(PARTNERS), len(place))))
        return pa.table(
            {
                "type": _constant("sign_up", len(place)),
                "event_id": ulids(at_ms, customer, 21),
                "occurred_at": at_ms,
                "brand_id": pa.array(BRANDS).take(pa.array(brand)),
                "visitor_id": visitor_ids(visitor),
                "ip": _ips(rng, len(place)),
                "user_agent": _some(rng, _AGENTS, len(place)),
                "country": _some(rng, _COUNTRIES, len(place)),
                "customer_id": customer_ids(customer),
                "click_id": _where(names_click, clicks.event_ids.take(pa.array(np.maximum(chosen, 0)))),
                "coupon_code": _where(rng.random(len(place)) < 0.05, code),
                "email_sha256": hashes(customer),
            }
        )

    def _buyers(self, order: Ints) -> Ints:
        """Who places an order: mostly somebody who signed up in the weeks before, sometimes a guest."""
        age = -np.log(uniform(order, 31)) * 10 * self.events_a_day * SIGN_UPS / 1000
        customer = (order * SIGN_UPS / ORDERS - 2 - age).astype(np.int64)
        guest = (uniform(order, 32) < 0.05) | (customer < 0)
        return np.where(guest, STRANGER + order, customer)

    def _orders(self, rng: Rng, order: Ints, at_ms: Ints) -> pa.Table:
        customer = self._buyers(order)
        visitor = self.visitor_of(customer)
        return pa.table(
            {
                "type": _constant("order", len(order)),
                "event_id": ulids(at_ms, order, 22),
                "occurred_at": at_ms,
                **self._of_order(order, customer, visitor),
                "visitor_id": _where(rng.random(len(order)) < 0.8, visitor_ids(visitor)),
                "ip": _ips(rng, len(order)),
            }
        )

    def _refunds(self, rng: Rng, orders_before: int, first: int, at_ms: Ints) -> pa.Table:
        refund = first + np.arange(len(at_ms))
        age = rng.exponential(5 * self.events_a_day * ORDERS / 1000, len(at_ms)).astype(np.int64)
        order = np.maximum(0, orders_before + np.arange(len(at_ms)) * (ORDERS // REFUNDS) - 1 - age)
        customer = self._buyers(order)
        columns = self._of_order(order, customer, self.visitor_of(customer))
        whole = rng.random(len(at_ms)) < 0.6
        columns["amount_minor"] = np.where(whole, columns["amount_minor"], columns["amount_minor"] // 3)
        return pa.table(
            {
                "type": _constant("refund", len(at_ms)),
                "event_id": ulids(at_ms, refund, 24),
                "occurred_at": at_ms,
                **columns,
                "reason": _some(rng, ("refund", "refund", "chargeback", "cancellation"), len(at_ms)),
            }
        )

    def _of_order(self, order: Ints, customer: Ints, visitor: Ints) -> dict[str, Any]:
        """What an order and its refunds share."""
        brand = visitor % 3
        return {
            "brand_id": pa.array(BRANDS).take(pa.array(brand)),
            "order_id": order_ids(order),
            "customer_id": customer_ids(customer),
            "amount_minor": (500 + mixed(order, 33) % np.uint64(14_500)).astype(np.int64),
            "currency": pa.array(CURRENCY).take(pa.array(brand)),
        }


@dataclass(frozen=True)
class Clicks:
    """The clicks of a chunk, as numbers."""

    place: Ints
    at_ms: Ints
    visitor: Ints
    program: Ints
    partner: Ints

    @cached_property
    def event_ids(self) -> pa.StringArray:
        return ulids(self.at_ms, self.place, 23)

    def shortly_before(self, rng: Rng, place: Ints, brand: Ints) -> Ints:
        """For each place in the stream a click of the brand that arrived shortly before; -1 where there is none."""
        found = np.full(len(place), -1)
        for each in range(len(BRANDS)):
            of_brand = np.flatnonzero(self.visitor % 3 == each)
            mine = np.flatnonzero(brand == each)
            before = np.searchsorted(self.place[of_brand], place[mine]) - rng.integers(1, 40, len(mine))
            found[mine] = np.where(before >= 0, of_brand[np.maximum(before, 0)], -1)
        return found

    def table(self, rng: Rng) -> pa.Table:
        """The clicks as events, a few of them spoilt in four ways."""
        count = len(self.place)
        bad = np.full(count, -1)
        spoilt = rng.choice(count, size=count * BAD // 940, replace=False)
        bad[spoilt] = np.arange(len(spoilt)) % 4
        link = self.program * len(PARTNERS) + self.partner
        links = list(itertools.product(PROGRAMS, PARTNERS))
        campaign = rng.integers(0, len(_CAMPAIGNS), count)
        return pa.table(
            {
                "type": _constant("click", count),
                "event_id": self.event_ids,
                "occurred_at": self.at_ms,
                "brand_id": _names((*BRANDS, "unheard-of"), np.where(bad == 0, 3, self.visitor % 3)),
                "program_id": _names((*PROGRAMS, "of-last-year"), np.where(bad == 1, 4, self.program)),
                "partner_id": _names((*PARTNERS, "partner-x"), np.where(bad == 2, len(PARTNERS), self.partner)),
                "visitor_id": pc.if_else(pa.array(bad == 3), "", visitor_ids(self.visitor)),
                "link_id": _names(
                    [f"{partner}-{campaign}" for partner in PARTNERS for campaign in _CAMPAIGNS],
                    self.partner * len(_CAMPAIGNS) + campaign,
                ),
                "landing_url": _names(
                    [f"https://{program}.example/?via={partner}" for program, partner in links], link
                ),
                "referrer_url": _where(
                    rng.random(count) < 0.6,
                    _names([f"https://{partner}.example/" for partner in PARTNERS], self.partner),
                ),
                "campaign": _names(_CAMPAIGNS, campaign),
                "variant": _some(rng, ("A", "B"), count),
                "ip": _ips(rng, count),
                "user_agent": _some(rng, _AGENTS, count),
                "country": _some(rng, _COUNTRIES, count),
            }
        )


def _constant(text: str, count: int) -> pa.StringArray:
    return pa.array([text]).take(pa.array(np.zeros(count, dtype=np.int64)))


def _names(names: tuple[str, ...] | list[str], chosen: Ints) -> pa.StringArray:
    return pa.array(names).take(pa.array(chosen))


def _some(rng: Rng, names: tuple[str, ...], count: int) -> pa.StringArray:
    return _names(names, rng.integers(0, len(names), count))


def _where(condition: npt.NDArray[np.bool_], column: pa.StringArray) -> pa.StringArray:
    return pc.if_else(pa.array(condition), column, pa.scalar(None, pa.string()))


def _coupon_codes() -> list[str]:
    return [f"{partner.upper()}-10" for partner in PARTNERS]


_IPS: Final = [f"198.51.{a}.{b}" for a in range(64) for b in range(256)]
_IP_COLUMN: Final = pa.array(_IPS)


def _ips(rng: Rng, count: int) -> pa.StringArray:
    return _IP_COLUMN.take(pa.array(rng.integers(0, len(_IPS), count)))


@dataclass
class Facts:
    """What was made: records, clicks that stand, and those of them whose window is still open at the end."""

    records: int = 0
    clicks: int = 0
    open_clicks: int = 0

    def counted(self, chunks: Iterator[pa.Table]) -> Iterator[pa.Table]:
        """The same chunks, counted as they pass. A repeat is always in the chunk of what it repeats."""
        for chunk in chunks:
            self.records += len(chunk)
            known = pc.and_(pc.is_in(chunk["partner_id"], pa.array(PARTNERS)), pc.not_equal(chunk["visitor_id"], ""))
            for program, days in WINDOW_DAYS.items():
                clicks = chunk.filter(pc.and_(known, pc.equal(chunk["program_id"], program)))
                clicks = clicks.filter(pc.is_in(clicks["brand_id"], pa.array(BRANDS)))
                still_open = clicks.filter(pc.greater(clicks["occurred_at"], START_MS + (DAYS - days) * DAY_MS))
                self.clicks += pc.count_distinct(clicks["event_id"]).as_py()
                self.open_clicks += pc.count_distinct(still_open["event_id"]).as_py()
            yield chunk


def main() -> None:
    """Write a workload and its terms to a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--format", choices=FORMATS, default="parquet")
    parser.add_argument("--out", type=Path, required=True, help="a folder; it gets programs/ and the events")
    options = parser.parse_args()
    started = time.process_time()
    write_terms(options.out / "programs")
    facts = Facts()
    path = write(facts.counted(Workload(options.events, options.seed).chunks()), options.out, options.format)
    (options.out / "facts.json").write_text(json.dumps(vars(facts)) + "\n", encoding="utf-8")
    print(f"{options.events:,} events in {path}, made in {time.process_time() - started:.1f} CPU-seconds")


if __name__ == "__main__":
    main()
