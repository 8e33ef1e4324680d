"""Dead letters of a source that is read again: what is accepted by now is no dead letter any more.

A file that was mended in place, or read again under terms that know the partner at last, has good records where it
had bad ones. A dead letter is withdrawn when an event is accepted at its very position whose event_id its bytes name. A
file of the same name with other events in it withdraws nothing: what was not accepted then is still not accepted.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.clickhouse.warehouse import Warehouse
from pipeline.steps.rows import COLUMNS, shown_raw
from pipeline.wire.admission import Admitted

STANDARD_INPUT = "-"

_KNOWN = """
SELECT position, reason, raw, max(version), argMax(is_deleted, version) FROM dead_letters
WHERE source = {source:String} AND toUInt64OrZero(position) BETWEEN {first:UInt64} AND {last:UInt64}
  AND reason != 'duplicate_order'
GROUP BY position, reason, raw
"""
_ANY = "SELECT 1 FROM dead_letters WHERE source = {source:String} LIMIT 1"


class DeadLetterBook:
    """The dead letters of earlier runs, held against what is read now."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._has_any: dict[str, bool] = {}

    def knows(self, source: str) -> bool:
        """Whether an earlier run left dead letters of this source. To be asked before the first chunk is taken."""
        if source not in self._has_any:
            found = source != STANDARD_INPUT and self._warehouse.query(_ANY, {"source": source})
            self._has_any[source] = bool(found)
        return self._has_any[source]

    def reconcile(self, admitted: Admitted) -> None:
        """Withdraw what was accepted at the chunk's positions; bring back what was withdrawn and is refused again."""
        first, last = _span(admitted)
        parameters = {"source": admitted.source, "first": first, "last": last}
        known: list[Any] = self._warehouse.query(_KNOWN, parameters)
        if not known:
            return
        dead = {(str(each.position), each.reason, shown_raw(each.raw)) for each in admitted.dead}
        accepted = _accepted(admitted, {int(position) for position, *_ in known})
        rows = []
        for position, reason, raw, version, is_deleted in known:
            event_id = accepted.get(int(position))
            is_mended = event_id is not None and event_id in raw
            if ((position, reason, raw) in dead) if is_deleted else is_mended:
                rows.append((admitted.source, position, reason, raw, version + 1, int(not is_deleted)))
        self._warehouse.insert_rows("dead_letters", rows, (*COLUMNS["dead_letters"], "version", "is_deleted"))


def _accepted(admitted: Admitted, positions: set[int]) -> dict[int, str]:
    """Of the events accepted at ``positions`` their event_id, by position."""
    found: dict[int, str] = {}
    for events in admitted.events.values():
        numbers = events.column("position").to_numpy()
        for row in np.flatnonzero(np.isin(numbers, list(positions))).tolist():
            found[int(numbers[row])] = events.column("event_id")[row].as_py()
    return found


def _span(admitted: Admitted) -> tuple[int, int]:
    """The first and the last position of a chunk."""
    positions = [letter.position for letter in admitted.dead]
    for events in admitted.events.values():
        numbers = events.column("position").to_numpy()
        positions += [int(numbers.min()), int(numbers.max())]
    return min(positions, default=0), max(positions, default=0)
