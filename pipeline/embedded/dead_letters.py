"""Dead letters of a source that is read again: what is accepted by now is no dead letter any more.

A file that was mended in place, or read again under terms that know the partner at last, has good records where it had
bad ones. Dead letters are identified by their source's position, so what stood there is withdrawn. Standard input is
left alone: two streams that came through it have nothing to do with each other.
"""

from __future__ import annotations

from typing import Any

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
        """Withdraw what stood at the chunk's positions and stands no more; bring back what stands again."""
        dead = {(str(each.position), each.reason, shown_raw(each.raw)) for each in admitted.dead}
        first, last = _span(admitted)
        parameters = {"source": admitted.source, "first": first, "last": last}
        known: list[Any] = self._warehouse.query(_KNOWN, parameters)
        rows = [
            (admitted.source, position, reason, raw, version + 1, int(not is_deleted))
            for position, reason, raw, version, is_deleted in known
            if ((position, reason, raw) in dead) == bool(is_deleted)
        ]
        self._warehouse.insert_rows("dead_letters", rows, (*COLUMNS["dead_letters"], "version", "is_deleted"))


def _span(admitted: Admitted) -> tuple[int, int]:
    """The first and the last position of a chunk."""
    positions = [letter.position for letter in admitted.dead]
    for events in admitted.events.values():
        numbers = events.column("position").to_numpy()
        positions += [int(numbers.min()), int(numbers.max())]
    return min(positions, default=0), max(positions, default=0)
