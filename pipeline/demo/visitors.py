"""The many who click and never buy: nine events in ten, written straight as lines."""

from __future__ import annotations

from typing import Final

from pipeline.demo.cast import HOUR_MS, MINUTE_MS, SEASON_END_MS
from pipeline.demo.delivery import Sent, sent
from pipeline.demo.story import World

_FEATURED: Final = (
    ("bakery-table", "cheesemonger", 6),
    ("bakery-table", "florist", 5),
    ("bakery-table", "deal-scout", 9),
    ("florist-creators", "deal-scout", 7),
    ("florist-creators", "green-thumb-gus", 3),
)
_PROGRAM_WEIGHTS: Final = {
    "bakery-table": 30,
    "roaster-circle": 24,
    "bookshop-readers": 18,
    "cheese-board": 14,
    "florist-bloom": 8,
    "florist-creators": 6,
}
_MARK: Final = 7_777_777_777_777_777
"""Stands in a sample line where each click has a number of its own."""


def visits(world: World, clicks: int) -> list[Sent]:
    """Exactly so many clicks of visitors who belong to no customer; one in three comes back within hours."""
    links = [
        (program.id, partner, weight * _PROGRAM_WEIGHTS[program.id])
        for program in world.programs.values()
        for partner, weight in program.partners.items()
    ]
    links += [(program_id, partner, weight * 20) for program_id, partner, weight in _FEATURED]
    lines = [_sample_lines(world, program_id, partner) for program_id, partner, _ in links]
    weights = [weight for _, _, weight in links]
    rng, made = world.rng, list[Sent]()
    while True:
        for samples in rng.choices(lines, weights, k=4096):
            visitor, at_ms = rng.getrandbits(64), world.moment()
            while at_ms < SEASON_END_MS:
                if len(made) == clicks:
                    return made
                sample = samples[int(rng.random() * len(samples))]
                made.append(("edge", at_ms, sample % (rng.getrandbits(64), at_ms, visitor, rng.getrandbits(8))))
                if rng.random() < 0.67:
                    break
                at_ms += world.between(MINUTE_MS, 30 * HOUR_MS)


def _sample_lines(world: World, program_id: str, partner: str) -> list[bytes]:
    """Lines of a dozen clicks on a partner's links, with places for event, time, visitor and address, in that order."""
    samples: list[bytes] = []
    for _ in range(12):
        world.click(_MARK, world.programs[program_id], partner, "VISITOR")
        _, _, line = sent(world.events.pop() | {"event_id": "EVENT", "ip": "198.51.100.ADDRESS"})
        for mark, place in (
            (b"EVENT", b"clk_%016x"),
            (b"%d" % _MARK, b"%d"),
            (b"VISITOR", b"v%016x"),
            (b"ADDRESS", b"%d"),
        ):
            line = line.replace(mark, place)
        samples.append(line)
    return samples
