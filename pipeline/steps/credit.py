"""CREDIT, keyed by brand and customer: one customer's whole story, decided afresh whenever a fact is added to it.

The outcome is a pure function of the facts. What is emitted are whole rows under ids derived from causes, with a version
that grows with the facts, so emitting again is harmless. The step remembers every destination that it ever wrote to for a
customer, so that credit which moves is withdrawn where it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pyarrow as pa

from pipeline.domain.attribution import Conversion, conversions_of
from pipeline.domain.contribution import Contribution
from pipeline.domain.explanation import explain
from pipeline.domain.referral import refer
from pipeline.domain.rows import AttributionRow, ReferralRow
from pipeline.domain.story import Click, Order, Refund, SignUp, Story
from pipeline.domain.terms import Catalogue, Program
from pipeline.state.keys import part, text
from pipeline.state.store import Store, WriteBatch
from pipeline.steps.facts import VALUE_FIELDS, decode, fact_values, key_columns, resolve
from pipeline.steps.identity import Binding, ForwardedClick
from pipeline.steps.rows import Rows

KIND = {"sign_up": "s", "order": "o", "refund": "r"}
_CLICK, _SIGN_UP, _ORDER, _REFUND, _COPY = b"c", b"s", b"o", b"r", b"p"

EPOCH_SHIFT = 40
"""A version's upper bits count changes of the terms, its lower 40 the facts known."""


class Emitted(msgspec.Struct, array_like=True):
    """Every destination that a customer's outcomes were ever written to."""

    attributions: list[tuple[str, str, str]] = []  # conversion_type, conversion_id, partner_id
    programs: list[str] = []
    duplicates: list[str] = []  # event ids of orders that were dead letters


@dataclass(slots=True)
class Decision:
    """What one customer's facts come to: everything the step emits for that customer."""

    story: Story
    version: int
    conversions: list[Conversion]
    referrals: list[ReferralRow]
    contributions: list[Contribution]


@dataclass(slots=True)
class Derived:
    """The outcomes of a batch of customers."""

    rows: Rows = field(default_factory=Rows)
    contributions: list[Contribution] = field(default_factory=list)


class CreditStep:
    """The step over one store. It writes nothing itself: what it wants written is put into the caller's batch."""

    def __init__(self, store: Store, catalogue: Catalogue, terms_epoch: int = 0) -> None:
        self._store = store
        self._catalogue = catalogue
        self._epoch = terms_epoch << EPOCH_SHIFT

    def add_events(self, event_type: str, source: str, events: pa.Table, batch: WriteBatch) -> int:
        """Take admitted sign-ups, orders or refunds; returns how many were repeats. Their customers become dirty."""
        kind = KIND[event_type]
        brands, customers, ids = key_columns(events, "brand_id", "customer_id", "event_id")
        prefixes = [f"{brand}\x00{customer}" for brand, customer in zip(brands, customers, strict=True)]
        keys = [f"{prefix}\x00{kind}\x00{event}".encode() for prefix, event in zip(prefixes, ids, strict=True)]
        known = self._store.get_many("facts", keys)
        new, rows = resolve(event_type, keys, fact_values(event_type, events), known)
        facts, dirty = batch.table("facts"), batch.table("dirty")
        facts.update(new)
        for row in rows:
            dirty[prefixes[row].encode()] = b""
        if event_type == "order":
            self._remember_first_copies(source, events, prefixes, ids, known, batch)
        return len(keys) - len(rows)

    def _remember_first_copies(
        self, source: str, orders: pa.Table, prefixes: Sequence[str], ids: Sequence[str],
        known: Sequence[bytes | None], batch: WriteBatch,
    ) -> None:  # fmt: skip
        """Keep where each order event was first read: should it turn out a duplicate, that is its dead letter."""
        facts = batch.table("facts")
        positions, raws = orders.column("position").to_pylist(), orders.column("raw").to_pylist()
        for row, old in enumerate(known):
            if old is None:
                key = f"{prefixes[row]}\x00p\x00{ids[row]}".encode()
                if key not in facts:
                    facts[key] = msgspec.msgpack.encode((source, positions[row], raws[row]))

    def add_clicks(self, clicks: Iterable[ForwardedClick], batch: WriteBatch) -> None:
        """Take clicks that IDENTITY forwards. An edition lower than the known one is stale, and ignored."""
        by_key = {}
        for brand, customer, visitor, event, fact in clicks:
            key = b"%b\x00%b\x00c\x00%b\x00%b" % (brand, customer, visitor, event)
            by_key[key] = (b"%b\x00%b" % (brand, customer), fact)
        keys = list(by_key)
        facts, dirty = batch.table("facts"), batch.table("dirty")
        for key, known in zip(keys, self._store.get_many("facts", keys), strict=True):
            customer_key, fact = by_key[key]
            if known is None or (known != fact and decode(known)[0] < decode(fact)[0]):
                facts[key] = fact
                dirty[customer_key] = b""

    def dirty_customers(self, most: int) -> list[bytes]:
        """Up to ``most`` customers with facts that no emitted outcome has seen, ascending by key."""
        found = []
        for key, _ in self._store.scan("dirty", b""):
            found.append(key)
            if len(found) >= most:
                break
        return found

    def all_customers(self) -> Iterator[bytes]:
        """Every customer with a fact, ascending by key."""
        last = b""
        for key, _ in self._store.scan("facts", b""):
            brand, customer, _ = key.split(b"\x00", 2)
            current = brand + b"\x00" + customer
            if current != last:
                last = current
                yield current

    def bindings_of(self, customers: Iterable[bytes]) -> Iterator[Binding]:
        """Every binding that the customers' sign-ups and orders make."""
        fields = {_SIGN_UP: _index("sign_up", "visitor_id"), _ORDER: _index("order", "visitor_id")}
        for customer_key in customers:
            brand, customer = customer_key.split(b"\x00")
            for kind, field_index in fields.items():
                for _, fact in self._store.scan("facts", b"%b\x00%b\x00" % (customer_key, kind)):
                    visitor = decode(fact)[field_index]
                    if visitor:
                        yield Binding(brand, part(visitor), customer)

    def decide(self, customer_key: bytes) -> Decision:
        """Everything that one customer's facts come to; a pure function of them and the terms."""
        brand_part, customer_part = customer_key.split(b"\x00")
        story, facts = self._story(text(brand_part), text(customer_part), customer_key + b"\x00")
        programs = self._catalogue.by_brand.get(story.brand_id, ())
        version = self._epoch | facts
        conversions = conversions_of(story, programs)
        referrals, contributions = [], []
        for program in programs:
            won = [each for each in conversions if each.credit is not None and each.credit.program_id == program.id]
            if won:
                row, contribution = refer(story, program, won, version)
                referrals.append(row)
                contributions.append(contribution)
        return Decision(story, version, conversions, referrals, contributions)

    def derive(self, customers: Sequence[bytes], batch: WriteBatch) -> Derived:
        """Decide the customers afresh and give all rows and contributions; what was emitted elsewhere is withdrawn.

        The batch then holds the destinations; it must be written before the rows are sent, and the customers' dirty marks
        taken away (:meth:`settled`) only once the rows are acknowledged.
        """
        derived = Derived()
        for customer_key, old in zip(customers, self._store.get_many("emitted", customers), strict=True):
            emitted = _EMITTED.decode(old) if old is not None else Emitted([], [], [])
            decision = self.decide(customer_key)
            self._emit(customer_key, decision, emitted, derived)
            value = _ENCODE(emitted)
            if value != old:
                batch.put("emitted", customer_key, value)
        return derived

    def settled(self, customers: Iterable[bytes], batch: WriteBatch) -> None:
        """Take away the dirty marks of customers whose rows are acknowledged."""
        for customer_key in customers:
            batch.delete("dirty", customer_key)

    def _story(self, brand_id: str, customer_id: str, prefix: bytes) -> tuple[Story, int]:
        """The customer's story, and the number of its facts (each counted as often as its content was replaced)."""
        sign_ups, orders, refunds, clicks = [], [], [], []
        known = 0
        start = len(prefix)
        for key, value in self._store.scan("facts", prefix):
            kind = key[start : start + 1]
            if kind == _COPY:
                continue
            fact = decode(value)
            known += fact[0]
            tail = key[start + 2 :]
            if kind == _CLICK:
                visitor, event = tail.split(b"\x00")
                clicks.append(Click(fact[1], text(event), text(visitor), fact[2], fact[3], fact[4] or ""))
            elif kind == _SIGN_UP:
                _, at, visitor_id, click_id, coupon, email = fact[:6]
                sign_ups.append(SignUp(at, text(tail), visitor_id or "", click_id or "", coupon or "", email or ""))
            elif kind == _ORDER:
                _, at, order_id, amount, _, visitor_id, click_id, coupon = fact[:8]
                orders.append(Order(at, text(tail), order_id, amount, visitor_id or "", click_id or "", coupon or ""))
            else:
                refunds.append(Refund(fact[1], text(tail), fact[2], fact[3]))
        for facts in (sign_ups, orders, refunds, clicks):
            facts.sort()
        return Story(brand_id, customer_id, sign_ups, orders, refunds, clicks), known

    def _emit(self, customer_key: bytes, decision: Decision, emitted: Emitted, derived: Derived) -> None:
        rows, version, story = derived.rows, decision.version, decision.story
        destinations = set()
        for conversion in decision.conversions:
            for row in attribution_rows(story, conversion):
                destinations.add((row.conversion_type, row.conversion_id, row.partner_id))
                rows.add("attributions", row, version)
        for kind, conversion_id, partner_id in emitted.attributions:
            if (kind, conversion_id, partner_id) not in destinations:
                gone = AttributionRow(
                    story.brand_id, kind, story.customer_id, conversion_id, partner_id, "", "", "", "", 0, "", 0, 0, "", 0
                )
                rows.add("attributions", gone, version, deleted=True)
        emitted.attributions = sorted(destinations.union(emitted.attributions))

        for referral in decision.referrals:
            rows.add("referrals", referral, version)
        programs = {referral.program_id for referral in decision.referrals}
        derived.contributions += decision.contributions
        for program_id in emitted.programs:
            if program_id not in programs:
                gone_referral = ReferralRow(program_id, story.customer_id, "", "", "", None, None, None, 0, 0)
                rows.add("referrals", gone_referral, version, deleted=True)
                derived.contributions.append(Contribution(program_id, story.customer_id, version, ()))
        emitted.programs = sorted(programs.union(emitted.programs))
        self._emit_facts(customer_key, decision, emitted, rows)

    def _emit_facts(self, customer_key: bytes, decision: Decision, emitted: Emitted, rows: Rows) -> None:
        """The customer's events as rows, and the duplicates among its orders as dead letters."""
        story, version = decision.story, decision.version
        duplicates = {order.event_id for order in story.duplicate_orders}
        accepted = {order.order_id for order in story.accepted_orders}
        ids = (story.brand_id, story.customer_id)
        start = len(customer_key) + 1
        for key, value in self._store.scan("facts", customer_key + b"\x00", customer_key + b"\x00o"):
            kind, event_part = key[start : start + 1], key[start + 2 :]
            if kind == _COPY:
                continue
            event_id = text(event_part)
            fields: list[Any] = decode(value)[1:]
            if kind == _SIGN_UP:
                rows.add("sign_ups", (event_id, *ids, *fields), version)
            elif kind == _ORDER:
                rows.add("orders", (event_id, *ids, *fields), version, deleted=event_id in duplicates)
            else:
                rows.add("refunds", (event_id, *ids, *fields, int(fields[1] in accepted)), version)
        for event_id in sorted(duplicates.union(emitted.duplicates)):
            copy = self._store.get("facts", b"%b\x00p\x00%b" % (customer_key, part(event_id)))
            if copy is not None:
                source, position, raw = msgspec.msgpack.decode(copy)
                dead = (source, position, "duplicate_order", raw)
                rows.add("dead_letters", dead, version, deleted=event_id not in duplicates)
        emitted.duplicates = sorted(duplicates.union(emitted.duplicates))


def attribution_rows(story: Story, conversion: Conversion) -> list[AttributionRow]:
    """A conversion's rows: one for each credited partner, or the one with an empty partner."""
    position, credit = conversion.position, conversion.credit
    order_id = conversion.order.order_id if conversion.order is not None else ""
    explanation = explain(conversion)
    if credit is None:
        return [
            AttributionRow(
                story.brand_id, conversion.type, story.customer_id, position.event_id, "", "", order_id, "", "", 0, "",
                position.at, 0, explanation, position.at,
            )
        ]  # fmt: skip
    return [
        AttributionRow(
            story.brand_id, conversion.type, story.customer_id, position.event_id, share.partner_id, credit.program_id,
            order_id, share.link_id, share.click_id, share.share_bps, credit.model, position.at, credit.terms.version,
            explanation, position.at,
        )
        for share in credit.shares
    ]  # fmt: skip




def _index(event_type: str, name: str) -> int:
    return VALUE_FIELDS[event_type].index(name) + 1


_EMITTED = msgspec.msgpack.Decoder(Emitted)
_ENCODE = msgspec.msgpack.Encoder().encode
