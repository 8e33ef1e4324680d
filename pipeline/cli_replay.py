"""`crosscredit replay`: late events and dead letters sent in again."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import App, Parameter

from pipeline.cli_terminal import console

if TYPE_CHECKING:
    from pipeline.replay.replay import Filter
    from pipeline.wire.admission import Admission

Names = Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class _Common:
    """What both commands take."""

    bootstrap: str | None = None
    """A Kafka broker, as host:port. Also CROSSCREDIT_KAFKA_BOOTSTRAP; TLS and SASL come from CROSSCREDIT_KAFKA_… too.
    """
    registry: str | None = None
    """The address of a schema registry. Also CROSSCREDIT_REGISTRY. Without it, the schemas of this program."""
    namespace: str | None = None
    """The beginning of the names of consumer groups, as the workers have it. Also CROSSCREDIT_NAMESPACE."""
    since: str | None = None
    """Only events that occurred then or later: 2026-03-01, or 2026-03-01T12:00:00Z."""
    until: str | None = None
    """Only events that occurred before then."""
    brand: Names = None
    """Only events of these brands."""
    dry_run: Annotated[bool, Parameter(negative=())] = False
    """Send nothing; say what would be sent."""

    def filter(self, reasons: list[str] | None = None) -> Filter:
        """Which letters are meant."""
        from pipeline.replay.replay import Filter

        return Filter(
            _time("--since", self.since), _time("--until", self.until), _reasons(reasons), frozenset(self.brand or ())
        )


_AS_GIVEN: Final = _Common()


def add_to(app: App) -> None:
    """Give the command line the commands."""
    replay = App(name="replay", help="Send late events or dead letters in again: then they count, and are withdrawn.")
    replay.command(late_command, name="late")
    replay.command(dead_letters_command, name="dead-letters")
    app.command(replay)


def late_command(*, common: _Common = _AS_GIVEN) -> None:
    """Send late events in again: they are admitted however late they are, correct what was given, and are late no more.

    For example: crosscredit replay late --since 2026-03-01 --dry-run

    To do it twice changes nothing.
    """
    from pipeline.wire.admission import AnyTerms

    _replay("late_event", "late events", AnyTerms(), common.filter(), common)


def dead_letters_command(
    *,
    program: Annotated[list[str], Parameter(consume_multiple=True, negative=())],
    common: _Common = _AS_GIVEN,
    reason: Names = None,
    max_future: str | None = None,
) -> None:
    """Send dead letters in again that would be accepted now: their schema is known at last, or they lie in no future.

    For example: crosscredit replay dead-letters --program terms/ --reason malformed --registry http://registry:8081

    The others stay, and are counted with the reason that holds now. To do it twice changes nothing.

    Parameters
    ----------
    program
        Terms of the programs, the same that the workers run with.
    reason
        Only dead letters of these reasons.
    max_future
        As the workers have it: how far an event's time may lie after its receipt. Also CROSSCREDIT_MAX_FUTURE.
    """
    from pipeline.terms_files import load_catalogue
    from pipeline.wire.admission import Admission

    admission = Admission(load_catalogue([Path(each) for each in program]))
    _replay("dead_letter", "dead letters", admission, common.filter(reason), common, max_future)


def _replay(
    record: str, what: str, admission: Admission, wanted: Filter, common: _Common, max_future: str | None = None
) -> None:
    from pipeline.agents.letters import read_letters
    from pipeline.agents.log_reader import LogReader
    from pipeline.agents.outcomes import Outcomes
    from pipeline.kafka.clients import KafkaSettings, confluent_config
    from pipeline.kafka.topics import verify_all_topics
    from pipeline.opening import schemas_of
    from pipeline.replay.replay import Replay
    from pipeline.replay.summary import print_replayed
    from pipeline.settings import settings_of
    from pipeline.topology import group_of
    from pipeline.wire.kafka_events import InputDecoder
    from pipeline.wire.messages import Messages

    settings = settings_of(
        os.environ, registry=common.registry, namespace=common.namespace, max_future=max_future
    )  # fmt: skip
    config = confluent_config(KafkaSettings.from_environment(os.environ, common.bootstrap))
    schemas = schemas_of(settings)
    partitions = verify_all_topics(config)
    log = LogReader(config, group_of("identity", settings.namespace))
    try:
        letters = read_letters(log, Outcomes(Messages(schemas)), record, partitions)
    finally:
        log.close()
    standing = [letter for letter, stands in letters.items() if stands]
    replay = Replay(record, admission, InputDecoder(schemas), max_future_ms=settings.max_future_ms)
    replayed = replay.run(standing, wanted, None if common.dry_run else config)
    print_replayed(console(), replayed, what, is_dry=common.dry_run)


def _reasons(given: list[str] | None) -> frozenset[str]:
    from pipeline.settings import SettingsError
    from pipeline.wire.admission import REASONS

    unknown = sorted(set(given or ()) - set(REASONS))
    if unknown:
        raise SettingsError(f"--reason {unknown[0]} is no reason of a dead letter. They are {', '.join(REASONS)}.")
    return frozenset(given or ())


def _time(flag: str, text: str | None) -> int | None:
    from pipeline.domain.events import rfc3339_ms
    from pipeline.settings import SettingsError

    if text is None:
        return None
    found = rfc3339_ms(f"{text}T00:00:00Z" if len(text) == len("2026-01-01") else text)
    if found is None:
        raise SettingsError(f"{flag} is {text!r}, which is no time. Write 2026-03-01, or 2026-03-01T12:00:00Z.")
    return found
