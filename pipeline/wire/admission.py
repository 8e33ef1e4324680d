"""Admission: which records count as events, and why the others do not (contract.md, section 2, "Bad input").

Each record is judged by itself, but by columns: a mask a rule, and the first rule that applies names the reason.
Readers call :meth:`Admission.judge` with :class:`~pipeline.wire.columns.Candidates`; what they could not even read as a
record of a known type they report as ``malformed`` themselves. ``duplicate_order`` needs other events: decided later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from pipeline.domain.events import (
    END_TIME_MS,
    EVENT_TYPES,
    FIRST_TIME_MS,
    REFUND_REASONS,
    EventType,
    Field,
)
from pipeline.domain.terms import Catalogue
from pipeline.wire.columns import Candidates, Column, Mask

pc: Any = pyarrow.compute  # its stubs cannot tell one array type from another

#: Reasons for a dead letter, in the order in which they are looked for.
REASONS: Final = (
    "malformed",
    "invalid_field",
    "in_future",
    "unknown_brand",
    "unknown_program",
    "unknown_partner",
    "currency_mismatch",
    "duplicate_order",
)

_CODE: Final[Mapping[str, int]] = {reason: code for code, reason in enumerate(REASONS, start=1)}
_SHA256: Final = r"\A[0-9a-f]{64}\z"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that is not admitted: where it stood (see the readers for what a position is), why, and its bytes."""

    source: str
    position: int
    reason: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Admitted:
    """One chunk of a source, after admission; ``records`` is always the admitted events plus the dead letters.

    ``events`` holds non-empty tables by type: its fields in the contract's order (``pa.string()``, but
    ``occurred_at`` and ``amount_minor`` ``pa.int64()``; absent is null), then ``position`` (uint64), and for orders
    ``raw`` (binary). Every column is one contiguous chunk. ``bytes_read`` is this chunk's share of the source's size,
    as stored: over all chunks it adds up to :attr:`~pipeline.wire.files.Source.size_bytes`.
    """

    events: dict[str, pa.Table]
    dead: list[DeadLetter]
    source: str
    records: int
    bytes_read: int


def event_table_schema(event_type: str) -> pa.Schema:
    """The columns of an admitted table of ``event_type``."""
    columns = [pa.field(each.name, _arrow_type(each)) for each in EVENT_TYPES[event_type].fields]
    columns.append(pa.field("position", pa.uint64()))
    if event_type == "order":
        columns.append(pa.field("raw", pa.binary()))
    return pa.schema(columns)


def _arrow_type(field: Field) -> Any:
    return pa.string() if field.is_text else pa.int64()


_TABLE_SCHEMAS: Final[Mapping[str, pa.Schema]] = {name: event_table_schema(name) for name in EVENT_TYPES}


class Admission:
    """The rules as one catalogue has them; made once, then asked batch by batch."""

    def __init__(self, catalogue: Catalogue) -> None:
        brands = list(catalogue.by_brand)
        brand_index = {brand: index for index, brand in enumerate(brands)}
        programs = list(catalogue.programs.values())
        partners = sorted({partner for program in programs for partner in program.partner_ids})
        partner_index = {partner: index for index, partner in enumerate(partners)}
        currencies = sorted(set(catalogue.currency_of.values()))

        self._brands = pa.array(brands, pa.string())
        self._programs = pa.array([program.id for program in programs], pa.string())
        self._partners = pa.array(partners, pa.string())
        self._currencies = pa.array(currencies, pa.string())
        # A last element of -2 answers the index -1 that an unknown brand or program has: it equals no index.
        self._brand_of_program = np.array(
            [*(brand_index[program.brand_id] for program in programs), -2], dtype=np.int64
        )
        self._currency_of_brand = np.array(
            [*(currencies.index(catalogue.currency_of[brand]) for brand in brands), -2], dtype=np.int64
        )
        self._pairs = pa.array(
            [
                index * len(partners) + partner_index[partner]
                for index, program in enumerate(programs)
                for partner in program.partner_ids
            ],
            pa.int64(),
        )

    def judge(
        self,
        candidates: Candidates,
        source: str,
        *,
        received_at_ms: int | npt.NDArray[np.int64] | None = None,
        max_future_ms: int | None = None,
    ) -> tuple[pa.Table, list[DeadLetter]]:
        """Admit or refuse each candidate: a table as :class:`Admitted` has it, and dead letters in row order.

        ``received_at_ms`` (one time, or one a row) with ``max_future_ms`` turns on ``in_future``, for live streams.
        """
        event_type = EVENT_TYPES[candidates.event_type]
        invalid = np.zeros(len(candidates), np.bool_) if candidates.ill_typed is None else candidates.ill_typed.copy()
        columns = {field.name: _checked(field, candidates, invalid) for field in event_type.fields}

        code = np.zeros(len(candidates), dtype=np.uint8)
        for reason, mask in reversed(self._refusals(event_type, columns)):  # the first that applies is written last
            code[mask] = _CODE[reason]
        if received_at_ms is not None and max_future_ms is not None:
            code[_numbers(columns["occurred_at"]) > received_at_ms + max_future_ms] = _CODE["in_future"]
        code[invalid] = _CODE["invalid_field"]

        refused = np.flatnonzero(code).tolist()
        dead = [
            DeadLetter(source, int(candidates.positions[row]), REASONS[code[row] - 1], raw)
            for row, raw in zip(refused, candidates.raw_of(refused) if refused else (), strict=True)
        ]
        return _table(event_type, columns, candidates, code == 0 if refused else None), dead

    def _refusals(self, event_type: EventType, columns: Mapping[str, Column]) -> list[tuple[str, Mask]]:
        brand = _index_in(columns["brand_id"], self._brands)
        refusals = [("unknown_brand", brand < 0)]
        if event_type.name == "click":
            program = _index_in(columns["program_id"], self._programs)
            partner = _index_in(columns["partner_id"], self._partners)
            pair = pa.array(program * len(self._partners) + partner)
            known = _bools(pc.is_in(pair, value_set=self._pairs)) & (program >= 0) & (partner >= 0)
            refusals.append(("unknown_program", self._brand_of_program[program] != brand))
            refusals.append(("unknown_partner", ~known))
        if "currency" in columns:
            currency = _index_in(columns["currency"], self._currencies)
            refusals.append(("currency_mismatch", self._currency_of_brand[brand] != currency))
        return refusals


class AnyTerms(Admission):
    """Admits what would be an event under some terms: only ``malformed`` and ``invalid_field`` are looked for."""

    def __init__(self) -> None:
        super().__init__(Catalogue.of(()))

    def _refusals(self, event_type: EventType, columns: Mapping[str, Column]) -> list[tuple[str, Mask]]:  # noqa: ARG002  any will do
        return []


def merged(parts: Sequence[Admitted]) -> Admitted:
    """Consecutive chunks of one source as one; at least one is needed."""
    tables: dict[str, list[pa.Table]] = {}
    for name in EVENT_TYPES:
        found = [part.events[name] for part in parts if name in part.events]
        if found:
            tables[name] = found
    return Admitted(
        events={name: pa.concat_tables(found).combine_chunks() for name, found in tables.items()},
        dead=[letter for part in parts for letter in part.dead],
        source=parts[0].source,
        records=sum(part.records for part in parts),
        bytes_read=sum(part.bytes_read for part in parts),
    )


def judged(
    admission: Admission, groups: Iterable[Candidates], malformed: Iterable[DeadLetter], source: str
) -> tuple[dict[str, pa.Table], list[DeadLetter]]:
    """Judge what a reader found in one stretch of its source: tables by type, and all dead letters by position."""
    events: dict[str, pa.Table] = {}
    dead = list(malformed)
    for group in groups:
        if len(group):
            table, refused = admission.judge(group, source)
            dead += refused
            if table.num_rows:
                events[group.event_type] = table
    dead.sort(key=lambda letter: letter.position)
    return events, dead


def _checked(field: Field, candidates: Candidates, invalid: Mask) -> Column:
    """The column with "" read as absent; rows where the field is missing or out of range are marked in ``invalid``."""
    column = candidates.columns.get(field.name)
    if column is None:
        column = pa.nulls(len(candidates), _arrow_type(field))
    elif field.is_text:
        column = _without_empty(column)
    if field.required and column.null_count:
        invalid |= _bools(pc.is_null(column))
    if column.null_count == len(column):
        return column
    match field.kind:
        case "time":
            at = _numbers(column)
            invalid |= (at < FIRST_TIME_MS) | (at >= END_TIME_MS)
        case "amount":
            invalid |= _numbers(column) < 0
        case "reason":
            invalid |= ~_bools(pc.is_in(column, value_set=pa.array(REFUND_REASONS)), absent=True)
        case "sha256":
            invalid |= ~_bools(pc.match_substring_regex(column, _SHA256), absent=True)
    return column


def _without_empty(column: Column) -> Column:
    empty = pc.equal(pc.binary_length(column), 0)
    if not pc.any(empty).as_py():
        return column
    present: Column = pc.if_else(empty, pa.scalar(None, pa.string()), column)
    return present


def _table(event_type: EventType, columns: Mapping[str, Column], candidates: Candidates, keep: Mask | None) -> pa.Table:
    arrays = [*columns.values(), pa.array(candidates.positions)]
    if event_type.name == "order":
        rows = range(len(candidates)) if keep is None else np.flatnonzero(keep).tolist()
        raw = pa.array(candidates.raw_of(rows), pa.binary())
        if keep is not None:
            arrays = [array.filter(pa.array(keep)) for array in arrays]
        return pa.Table.from_arrays([*arrays, raw], schema=_TABLE_SCHEMAS["order"])
    table = pa.Table.from_arrays(arrays, schema=_TABLE_SCHEMAS[event_type.name])
    return table if keep is None else table.filter(pa.array(keep))


def _bools(array: Column, *, absent: bool = False) -> Mask:
    filled = pc.fill_null(array, absent) if array.null_count else array
    mask: Mask = filled.to_numpy(zero_copy_only=False)
    return mask


def _numbers(array: Column) -> npt.NDArray[np.int64]:
    """The values, 0 where null: an absent required one is refused already, an absent optional one is in range."""
    filled = pc.fill_null(array, 0) if array.null_count else array
    numbers: npt.NDArray[np.int64] = filled.to_numpy()
    return numbers


def _index_in(column: Column, known: Column) -> npt.NDArray[np.int64]:
    """Where each value stands in ``known``; -1 where it does not."""
    found: npt.NDArray[np.int64] = pc.fill_null(pc.index_in(column, value_set=known), -1).to_numpy().astype(np.int64)
    return found
