"""What the generator of a season knows of its right outcome, and how that is compared with what the pipeline found."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from pipeline.demo.delivery import SYSTEM_OF, Sent
from pipeline.demo.story import World
from pipeline.demo.tally import tally

Query = Callable[[str], list[tuple[Any, ...]]]
"""Runs a ClickHouse SELECT over the views ``current_<table>`` and returns its rows."""
Key = tuple[str, ...]
Figure = tuple[int | str | None, ...]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Topic:
    """A family of figures: how it is asked of the tables, and how one of them is called."""

    sql: str
    key_columns: int
    words: str


TOPICS: Final[Mapping[str, Topic]] = {
    "events": Topic(
        "SELECT 'clicks' AS what, count() FROM current_clicks"
        " UNION ALL SELECT 'sign-ups', count() FROM current_sign_ups"
        " UNION ALL SELECT 'orders', count() FROM current_orders"
        " UNION ALL SELECT 'refunds', count() FROM current_refunds"
        " UNION ALL SELECT 'refunds of unknown orders', countIf(NOT matched) FROM current_refunds",
        1,
        "{} that stand",
    ),
    "dead_letters": Topic("SELECT reason, count() FROM current_dead_letters GROUP BY reason", 1, "dead letters, {}"),
    "credited": Topic(
        "SELECT program_id, partner_id, conversion_type, count(), sum(share_bps) FROM current_attributions"
        " WHERE partner_id != '' GROUP BY program_id, partner_id, conversion_type",
        3,
        "in {0}, to {1}: credited conversions of type {2}, and their shares in basis points",
    ),
    "uncredited": Topic(
        "SELECT brand_id, conversion_type, count() FROM current_attributions"
        " WHERE partner_id = '' GROUP BY brand_id, conversion_type",
        2,
        "at {0}: conversions of type {1} that nobody is credited with",
    ),
    "models": Topic(
        "SELECT program_id, model, count() FROM current_attributions WHERE partner_id != '' GROUP BY program_id, model",
        2,
        "in {0}: credits by the model {1}",
    ),
    "referrals": Topic(
        "SELECT program_id, partner_id, status, count() FROM current_referrals GROUP BY program_id, partner_id, status",
        3,
        "in {0}, of {1}: referrals that are {2}",
    ),
    "rejections": Topic(
        "SELECT program_id, reason, count() FROM current_referrals WHERE reason != '' GROUP BY program_id, reason",
        2,
        "in {0}: referrals rejected as {1}",
    ),
    "ledger": Topic(
        "SELECT program_id, partner_id, kind, sum(amount_minor) FROM current_ledger_entries"
        " GROUP BY program_id, partner_id, kind",
        3,
        "in {0}, for {1}: {2}, in minor units",
    ),
    "milestones": Topic(
        "SELECT program_id, milestone_id, scope_key, period, status, count, reached_at, revoked_at"
        " FROM current_milestones",
        4,
        "in {0}: milestone {1} of {2} in {3} (status, count, reached at, revoked at)",
    ),
}


@dataclass(frozen=True)
class SeasonTruth:
    """Figures by topic and key. ``late`` counts records that came more than a day after they happened.

    ``showcases`` names conversions worth explaining: what happened to them, and their order_id or event_id.
    """

    seed: int
    records: int
    repeats: int
    late: int
    figures: Mapping[str, Mapping[Key, Figure]]
    showcases: Mapping[str, str]

    @property
    def number_of_figures(self) -> int:
        """How many figures can be compared."""
        return sum(len(figures) for figures in self.figures.values())

    @property
    def dead_letters(self) -> dict[str, int]:
        """Bad records by reason."""
        return {reason: int(figure[0] or 0) for (reason,), figure in self.figures["dead_letters"].items()}

    def commission_minor(self, program_id: str, partner_id: str) -> int:
        """What a partner keeps of commission in a program, clawbacks taken off."""
        ledger = self.figures["ledger"]
        kinds = ("accrual", "clawback")
        return sum(int(ledger.get((program_id, partner_id, kind), (0,))[0] or 0) for kind in kinds)

    def write(self, path: Path) -> None:
        """Write it as JSON, keys joined by ``|``."""
        figures = {
            topic: {"|".join(key): list(figure) for key, figure in sorted(figures.items())}
            for topic, figures in self.figures.items()
        }
        content = {
            "seed": self.seed,
            "records": self.records,
            "repeats": self.repeats,
            "late": self.late,
            "figures": figures,
            "showcases": self.showcases,
        }
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> SeasonTruth:
        """Read what :meth:`write` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        figures = {
            topic: {tuple(key.split("|")): tuple(figure) for key, figure in figures.items()}
            for topic, figures in content.pop("figures").items()
        }
        return cls(figures=figures, **content)


def known_figures(
    world: World, standing: Iterable[Sent], dead_letters: Mapping[str, int]
) -> dict[str, dict[Key, Figure]]:
    """Every figure that the stories told so far, and the bad records, imply."""
    known = world.known
    credited: Counter[Key] = Counter()
    shares: Counter[Key] = Counter()
    uncredited: Counter[Key] = Counter()
    models: Counter[Key] = Counter()
    for conversion in known.conversions:
        if conversion.credit is None:
            uncredited[conversion.brand_id, conversion.type] += 1
            continue
        for partner_id, share_bps in conversion.credit.shares:
            credited[conversion.program_id, partner_id, conversion.type] += 1
            shares[conversion.program_id, partner_id, conversion.type] += share_bps
            models[conversion.program_id, conversion.credit.model] += 1
    tallies = [
        tally(program, [referral for referral in known.referrals if referral.program is program])
        for program in world.programs.values()
    ]
    rejected = [referral for referral in known.referrals if referral.reason]
    return {
        "events": _events(standing, known.unmatched_refunds),
        "dead_letters": _counts((reason,) for reason in Counter(dead_letters).elements()),
        "credited": {key: (count, shares[key]) for key, count in credited.items()},
        "uncredited": _figures(uncredited),
        "models": _figures(models),
        "referrals": _counts((each.program.id, each.partner_id, each.status) for each in known.referrals),
        "rejections": _counts((each.program.id, each.reason) for each in rejected),
        "ledger": {key: figure for result in tallies for key, figure in _figures(result.money).items()},
        "milestones": {
            key: (standing.status, standing.count, standing.reached_at, standing.revoked_at)
            for result in tallies
            for key, standing in result.milestones.items()
        },
    }


def check_season(truth: SeasonTruth, query: Query) -> list[str]:
    """Differences between what the generator knows and what the tables say, in words; empty if there is none."""
    differences: list[str] = []
    for name, topic in TOPICS.items():
        known = truth.figures[name]
        found: dict[Key, Figure] = {}
        for row in query(topic.sql):
            values = tuple(_plain(value) for value in row)
            found[tuple(str(value) for value in values[: topic.key_columns])] = values[topic.key_columns :]
        for key in sorted(known.keys() | found.keys()):
            if known.get(key) != found.get(key):
                what = topic.words.format(*key)
                differences.append(
                    f"{what}: the generator knows {_words(known, key)}, the tables say {_words(found, key)}"
                )
    return differences


def _events(standing: Iterable[Sent], unmatched_refunds: int) -> dict[Key, Figure]:
    counts = Counter(system for system, _, _ in standing)
    return {
        ("clicks",): (counts[SYSTEM_OF["click"]],),
        ("sign-ups",): (counts[SYSTEM_OF["sign_up"]],),
        ("orders",): (counts[SYSTEM_OF["order"]],),
        ("refunds",): (counts[SYSTEM_OF["refund"]],),
        ("refunds of unknown orders",): (unmatched_refunds,),
    }


def _counts(keys: Iterable[Key]) -> dict[Key, Figure]:
    return _figures(Counter(keys))


def _figures(counts: Mapping[Key, int]) -> dict[Key, Figure]:
    return {key: (count,) for key, count in counts.items()}


def _words(figures: Mapping[Key, Figure], key: Key) -> str:
    return ", ".join("none" if value is None else str(value) for value in figures[key]) if key in figures else "nothing"


def _plain(value: Any) -> int | str | None:
    """A value as the truth has it: times as epoch milliseconds, whatever type the client gives them."""
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        return (moment - _EPOCH) // timedelta(milliseconds=1)
    if value is None or isinstance(value, str):
        return value
    return int(value)
