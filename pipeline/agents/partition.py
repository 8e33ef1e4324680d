"""One partition of one step on disk: its facts, how far its inputs are taken, and what is still to be sent.

All of it changes in one atomic write. Outputs are noted in the *outbox* with the facts that they come from, and leave
it with the first write after they were acknowledged; what a killed process left there is sent again. So an input
offset that is on disk means: its facts are kept, and its outputs were sent or are in the outbox.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pipeline.agents.outlet import Outlet, Output
from pipeline.state.store import Store, WriteBatch
from pipeline.topology import RECORD_OF

_WATERMARK = b"watermark"
_SEEN = b"seen\x00"
_OFFSET = b"offset\x00"


class PartitionState:
    """The shell around a step's store: offsets, watermark and outbox. One thread uses it."""

    def __init__(self, store: Store, outlet: Outlet, reads_back: Sequence[str] = ()) -> None:
        self.store = store
        self._reads_back = reads_back
        self._seen: dict[str, int] = {}
        self._outlet = outlet
        self._offsets: dict[str, int] = {}
        waiting = list(store.scan("outbox", b""))
        self._unsent: dict[bytes, Sequence[Output]] = {key: _decode(value) for key, value in waiting}
        self._sent: list[bytes] = []
        self._number = int.from_bytes(waiting[-1][0], "big") + 1 if waiting else 0

    def offset(self, record: str) -> int:
        """The first offset of an input that is not taken yet."""
        known = self._offsets.get(record)
        if known is None:
            stored = self.store.get("meta", _OFFSET + record.encode())
            known = self._offsets[record] = int(stored) if stored is not None else 0
        return known

    def seen(self, record: str) -> int:
        """Up to which offset this state knows what was emitted to an outcome topic's partition."""
        known = self._seen.get(record)
        if known is None:
            stored = self.store.get("meta", _SEEN + record.encode())
            known = self._seen[record] = int(stored) if stored is not None else 0
        return known

    def put_seen(self, record: str, offset: int, batch: WriteBatch) -> None:
        """Note that everything emitted before ``offset`` is known."""
        self._seen[record] = offset
        batch.put("meta", _SEEN + record.encode(), b"%d" % offset)

    def watermark_ms(self) -> int | None:
        """The pipeline's watermark at the last write."""
        stored = self.store.get("meta", _WATERMARK)
        return int(stored) if stored is not None else None

    def commit(
        self, batch: WriteBatch, record: str, next_offset: int, outputs: Sequence[Output] = (),
        watermark_ms: int | None = None,
    ) -> None:  # fmt: skip
        """Write the facts of ``batch`` with the offset that they reach, then send the outputs, until acknowledged."""
        self.keep(batch, record, next_offset, outputs, watermark_ms)
        self.send_waiting()

    def keep(
        self, batch: WriteBatch, record: str, next_offset: int, outputs: Sequence[Output] = (),
        watermark_ms: int | None = None,
    ) -> None:  # fmt: skip
        """As :meth:`commit`, but the outputs wait in the outbox for :meth:`send_waiting`.

        While a partition catches up, which is in another thread than the outlet's.
        """
        if outputs:
            key = self._number.to_bytes(8, "big")
            self._number += 1
            self._unsent[key] = outputs
            batch.put("outbox", key, _encode(outputs))  # all as one entry: each costs a write and, soon, a delete
        batch.put("meta", _OFFSET + record.encode(), b"%d" % next_offset)
        if watermark_ms is not None:
            batch.put("meta", _WATERMARK, b"%d" % watermark_ms)
        self.write(batch)
        self._offsets[record] = next_offset

    def write(self, batch: WriteBatch) -> None:
        """Write a batch; what was acknowledged leaves the outbox with it."""
        for key in self._sent:
            batch.delete("outbox", key)
        self.store.write(batch)
        self._sent.clear()

    def send_waiting(self) -> None:
        """Send what is in the outbox; blocks until it is acknowledged."""
        if self._unsent:
            self._outlet.send([output for outputs in self._unsent.values() for output in outputs])
            self._sent += self._unsent
            self._unsent.clear()

    def send(self, outputs: Sequence[Output], done: WriteBatch) -> None:
        """Send what the step itself can derive again; blocks until it is acknowledged.

        ``done`` then notes how much of the outcome topics is known to be this state's own.
        """
        for (topic, _), (first, last, count) in self._outlet.send(outputs).items():
            record = RECORD_OF[topic]
            if record in self._reads_back and first == self.seen(record) and last - first + 1 == count:
                self.put_seen(record, last + 1, done)

    def close(self) -> None:
        """Release the store."""
        self.store.close()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Output]).decode
