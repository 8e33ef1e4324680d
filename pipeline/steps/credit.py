"""CREDIT, keyed by brand and customer: one customer's whole story, decided afresh whenever a fact is added to it.

The outcome is a pure function of the facts. What is emitted are whole rows under ids derived from causes, with a
version that grows with the facts, so emitting again is harmless. The step remembers every destination that it ever
wrote to for a customer, so that credit which moves is withdrawn where it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.domain.attribution import Conversion, conversions_of
from pipeline.domain.contribution import Contribution
from pipeline.domain.explanation import explain
from pipeline.domain.referral import refer
from pipeline.domain.rows import AttributionRow, ReferralRow
from pipeline.domain.story import Click, Order, Refund, SignUp, Story
from pipeline.domain.terms import Catalogue
from pipeline.state.keys import part, parts, text
from pipeline.state.store import Store, WriteBatch
from pipeline.steps.facts import decode, fact_values, key_columns, resolve
from pipeline.steps.identity import Binding, ForwardedClick
from pipeline.steps.rows import Rows, shown_raw

KIND = {"sign_up": "s", "order": "o", "refund": "r"}
_CLICK, _SIGN_UP, _ORDER, _REFUND = b"csor"
# A fifth kind, "p", holds where an order event was first read.

EPOCH_SHIFT = 40
"""A version's upper bits count changes of the terms, its lower 40 the facts known."""


class Emitted(msgspec.Struct, array_like=True):
    """Every destination that a customer's outcomes were ever written to."""

    attributions: list[tuple[str, str, str]] = []  # conversion_type, conversion_id, partner_id
    programs: list[str] = []
    duplicates: list[str] = []  # event ids of orders that were dead letters


class CustomerFacts:
    """Everything that state knows of one customer in one brand, decoded."""

    __slots__ = ("clicks", "key", "orders", "refunds", "sign_ups")

    def __init__(self, key: bytes, found: Iterable[tuple[bytes, bytes]]) -> None:
        self.key = key
        self.clicks: dict[bytes, Sequence[Any]] = {}  # by visitor and event, as keys hold them
        self.sign_ups: list[tuple[str, list[Any]]] = []  # event_id and value
        self.orders: list[tuple[str, list[Any]]] = []
        self.refunds: list[tuple[str, list[Any]]] = []
        start = len(key) + 1
        for fact_key, value in found:
            kind, tail = fact_key[start], fact_key[start + 2 :]
            if kind == _CLICK:
                self.clicks[tail] = decode(value)
            elif kind == _SIGN_UP:
                self.sign_ups.append((text(tail), decode(value)))
            elif kind == _ORDER:
                self.orders.append((text(tail), decode(value)))
            elif kind == _REFUND:
                self.refunds.append((text(tail), decode(value)))

    def bindings(self) -> Iterator[Binding]:
        """Every binding that the customer's sign-ups and orders make."""
        brand, customer = self.key.split(b"\x00")
        for _, fields in self.sign_ups:
            if fields[2]:
                yield Binding(brand, part(fields[2]), customer)
        for _, fields in self.orders:
            if fields[5]:
                yield Binding(brand, part(fields[5]), customer)

    def story(self) -> tuple[Story, int]:
        """The story, and the number of facts (each counted as often as its content was replaced)."""
        known = 0
        clicks, sign_ups, orders, refunds = [], [], [], []
        for tail, (edition, at, program_id, partner_id, link_id) in self.clicks.items():
            visitor_id, event_id = parts(tail)
            known += edition
            clicks.append(Click(at, event_id, visitor_id, program_id, partner_id, link_id))
        for event_id, (edition, at, visitor_id, click_id, coupon, email, *_) in self.sign_ups:
            known += edition
            sign_ups.append(SignUp(at, event_id, visitor_id or "", click_id or "", coupon or "", email or ""))
        for event_id, (edition, at, order_id, amount, _, visitor_id, click_id, coupon, *_) in self.orders:
            known += edition
            orders.append(Order(at, event_id, order_id, amount, visitor_id or "", click_id or "", coupon or ""))
        for event_id, (edition, at, order_id, amount, *_) in self.refunds:
            known += edition
            refunds.append(Refund(at, event_id, order_id, amount))
        brand, customer = self.key.split(b"\x00")
        return Story(text(brand), text(customer), sign_ups, orders, refunds, clicks), known


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

    def known(self, event_type: str, events: pa.Table) -> npt.NDArray[np.bool_]:
        """Which of the events state has a copy of."""
        _, _, keys = _fact_keys(event_type, events)
        return np.array([value is not None for value in self._store.get_many("facts", keys)], dtype=np.bool_)

    def add_events(self, event_type: str, source: str, events: pa.Table, batch: WriteBatch) -> list[int]:
        """Take admitted sign-ups, orders or refunds; returns the rows that are new or replace another copy.

        Their customers become dirty.
        """
        prefixes, ids, keys = _fact_keys(event_type, events)
        known = self._store.get_many("facts", keys)
        new, rows = resolve(event_type, keys, fact_values(event_type, events), known)
        facts, dirty = batch.table("facts"), batch.table("dirty")
        facts.update(new)
        for row in rows:
            dirty[prefixes[row].encode()] = b""
        if event_type == "order":
            self._remember_first_copies(source, events, prefixes, ids, known, batch)
        return rows

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
        editions: dict[bytes, int] = {}
        for brand, customer, visitor, event, click in clicks:
            key = b"%b\x00%b\x00c\x00%b\x00%b" % (brand, customer, visitor, event)
            if click.edition >= editions.get(key, 0):
                editions[key] = click.edition
                by_key[key] = (b"%b\x00%b" % (brand, customer), _encode(click[:5]))
        keys = list(by_key)
        facts, dirty = batch.table("facts"), batch.table("dirty")
        for key, known in zip(keys, self._store.get_many("facts", keys), strict=True):
            customer_key, fact = by_key[key]
            if known is None or (known != fact and decode(known)[0] < decode(fact)[0]):
                facts[key] = fact
                dirty[customer_key] = b""

    def dirty_customers(self, most: int, after: bytes = b"") -> list[bytes]:
        """Up to ``most`` customers with facts that no emitted outcome has seen, ascending by key, beyond ``after``."""
        found = []
        for key, _ in self._store.scan("dirty", b"", after + b"\x00"):
            found.append(key)
            if len(found) >= most:
                break
        return found

    def count_dirty(self) -> int:
        """How many customers are dirty."""
        return sum(1 for _ in self._store.scan("dirty", b""))

    def all_customers(self) -> Iterator[bytes]:
        """Every customer with a fact, ascending by key."""
        last = b""
        for key, _ in self._store.scan("facts", b""):
            brand, customer, _ = key.split(b"\x00", 2)
            current = brand + b"\x00" + customer
            if current != last:
                last = current
                yield current

    def load(self, customers: Sequence[bytes]) -> list[CustomerFacts]:
        """All facts of the customers, whose keys ascend."""
        prefixes = [customer_key + b"\x00" for customer_key in customers]
        return [
            CustomerFacts(customer_key, found)
            for customer_key, found in zip(customers, self._store.scan_each("facts", prefixes), strict=True)
        ]

    def add_clicks_to(
        self, loaded: Sequence[CustomerFacts], clicks: Iterable[ForwardedClick], batch: WriteBatch
    ) -> None:
        """Like :meth:`add_clicks`, for clicks of customers that are loaded: they see them at once."""
        by_customer = {each.key: each for each in loaded}
        facts = batch.table("facts")
        for brand, customer, visitor, event, click in clicks:
            customer_key = brand + b"\x00" + customer
            tail = visitor + b"\x00" + event
            known = by_customer[customer_key].clicks
            if tail not in known or known[tail][0] < click.edition:
                known[tail] = click[:5]
                facts[b"%b\x00c\x00%b" % (customer_key, tail)] = _encode(click[:5])

    def decide(self, facts: CustomerFacts) -> Decision:
        """Everything that one customer's facts come to; a pure function of them and the terms."""
        story, known = facts.story()
        version = self._epoch | known
        conversions = conversions_of(story, self._catalogue)
        won: dict[str, list[Conversion]] = {}
        for conversion in conversions:
            if conversion.credit is not None:
                won.setdefault(conversion.credit.program_id, []).append(conversion)
        referrals, contributions = [], []
        for program_id in sorted(won):
            row, contribution = refer(story, self._catalogue.programs[program_id], won[program_id], version)
            referrals.append(row)
            contributions.append(contribution)
        return Decision(story, version, conversions, referrals, contributions)

    def derive(self, loaded: Sequence[CustomerFacts], batch: WriteBatch) -> Derived:
        """Decide the customers afresh and give all rows and contributions; what was emitted elsewhere is withdrawn.

        The batch then holds the destinations; it must be written before the rows are sent, and the customers' dirty
        marks taken away (:meth:`settled`) only once the rows are acknowledged.
        """
        derived = Derived()
        destinations = batch.table("emitted")
        stored = self._store.get_many("emitted", [each.key for each in loaded])
        for facts, old in zip(loaded, stored, strict=True):
            emitted = _decode_emitted(old) if old is not None else Emitted([], [], [])
            self._emit(facts, self.decide(facts), emitted, derived)
            value = _encode(emitted)
            if value != old:
                destinations[facts.key] = value
        return derived

    def brand_of(self, program_id: str) -> str:
        """The brand whose program it is; "" for a program that is not known."""
        program = self._catalogue.programs.get(program_id)
        return program.brand_id if program is not None else ""

    def remember(
        self, destinations: Iterable[tuple[bytes, str, Any]], batch: WriteBatch, *, decide_again: bool
    ) -> None:  # fmt: skip
        """Note destinations that something was emitted to: customer, a field of :class:`Emitted`, and the destination.

        For state that may not know all that was emitted in its name. ``decide_again`` makes customers with destinations
        that were not known dirty.
        """
        by_customer: dict[bytes, list[tuple[str, Any]]] = {}
        for customer_key, kind, destination in destinations:
            by_customer.setdefault(customer_key, []).append((kind, destination))
        stored = self._store.get_many("emitted", list(by_customer))
        for (customer_key, found), value in zip(by_customer.items(), stored, strict=True):
            emitted = _decode_emitted(value) if value is not None else Emitted([], [], [])
            for kind, destination in found:
                known = getattr(emitted, kind)
                if destination not in known:
                    known.append(destination)
                    if decide_again:
                        batch.put("dirty", customer_key, b"")
            emitted.attributions.sort()
            emitted.programs.sort()
            batch.put("emitted", customer_key, _encode(emitted))

    def settled(self, customers: Iterable[bytes], batch: WriteBatch) -> None:
        """Take away the dirty marks of customers whose rows are acknowledged."""
        for customer_key in customers:
            batch.delete("dirty", customer_key)

    def _emit(self, facts: CustomerFacts, decision: Decision, emitted: Emitted, derived: Derived) -> None:
        rows, version, story = derived.rows, decision.version, decision.story
        destinations = set()
        for conversion in decision.conversions:
            for row in attribution_rows(story, conversion):
                destinations.add((row.conversion_type, row.conversion_id, row.partner_id))
                rows.add("attributions", row, version)
        for kind, conversion_id, partner_id in emitted.attributions:
            if (kind, conversion_id, partner_id) not in destinations:
                gone = AttributionRow(
                    story.brand_id,
                    kind,
                    story.customer_id,
                    conversion_id,
                    partner_id,
                    "",
                    "",
                    "",
                    "",
                    0,
                    "",
                    0,
                    0,
                    "",
                    0,
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
        self._emit_facts(facts, decision, emitted, rows)

    def _emit_facts(self, facts: CustomerFacts, decision: Decision, emitted: Emitted, rows: Rows) -> None:
        """The customer's events as rows, and the duplicates among its orders as dead letters."""
        story, version = decision.story, decision.version
        ids = (story.brand_id, story.customer_id)
        for event_id, fields in facts.sign_ups:
            rows.add("sign_ups", (event_id, *ids, *fields[1:]), version)
        duplicates = {order.event_id for order in story.duplicate_orders}
        for event_id, fields in facts.orders:
            rows.add("orders", (event_id, *ids, *fields[1:]), version, deleted=event_id in duplicates)
        if facts.refunds:
            accepted = {order.order_id for order in story.accepted_orders}
            for event_id, fields in facts.refunds:
                rows.add("refunds", (event_id, *ids, *fields[1:], fields[2] in accepted), version)
        # Where an order's content was replaced, another may have been a duplicate before, and others have said so.
        were = [each for each, _ in facts.orders] if any(fields[0] > 1 for _, fields in facts.orders) else []
        if not duplicates and not emitted.duplicates and not were:
            return
        emitted.duplicates = sorted(duplicates.union(emitted.duplicates))
        for event_id in sorted({*emitted.duplicates, *were}):
            copy = self._store.get("facts", b"%b\x00p\x00%b" % (facts.key, part(event_id)))
            if copy is not None:
                source, position, raw = msgspec.msgpack.decode(copy)
                dead = (source, str(position), "duplicate_order", shown_raw(raw))
                rows.add("dead_letters", dead, version, deleted=event_id not in duplicates)


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


def _fact_keys(event_type: str, events: pa.Table) -> tuple[list[str], list[str], list[bytes]]:
    """The customer's part of each row's key, the event's, and the whole key of its fact."""
    kind = KIND[event_type]
    brands, customers, ids = key_columns(events, "brand_id", "customer_id", "event_id")
    prefixes = [f"{brand}\x00{customer}" for brand, customer in zip(brands, customers, strict=True)]
    keys = [f"{prefix}\x00{kind}\x00{event}".encode() for prefix, event in zip(prefixes, ids, strict=True)]
    return prefixes, ids, keys


_decode_emitted = msgspec.msgpack.Decoder(Emitted).decode
_encode = msgspec.msgpack.Encoder().encode
