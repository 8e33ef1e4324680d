"""`crosscredit webhooks`: notices to partners' endpoints, seen and sent again."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipeline.agents.outcomes import Outcomes
    from pipeline.kafka.clients import ConfluentConfig
    from pipeline.webhooks.notice_log import Kept

Flag = Annotated[bool, Parameter(negative=())]
Status = Literal["open", "waiting", "dead", "delivered", "all"]


def add_to(app: App) -> None:
    """Give the command line the commands."""
    webhooks = App(name="webhooks", help="Notices to partners' endpoints: list them, or have them sent again.")
    webhooks.command(list_command, name="list")
    webhooks.command(resend_command, name="resend")
    app.command(webhooks)


def list_command(
    *,
    status: Status = "open",
    endpoint: str | None = None,
    json: Flag = False,
    bootstrap: str | None = None,
    registry: str | None = None,
    namespace: str | None = None,
) -> None:
    """List notices, the earliest first: what waits, and what was given up.

    For example: crosscredit webhooks list --status dead --endpoint bakery

    Parameters
    ----------
    status
        open is waiting and dead; or waiting, dead, delivered, all.
    endpoint
        Only those for this endpoint.
    json
        One JSON object a line, with the body that is sent.
    bootstrap
        A Kafka broker, as host:port. Also CROSSCREDIT_KAFKA_BOOTSTRAP; TLS and SASL come from CROSSCREDIT_KAFKA_… too.
    registry
        The address of a schema registry. Also CROSSCREDIT_REGISTRY. Without it, the schemas of this program.
    namespace
        The beginning of the names of consumer groups, as the workers have it. Also CROSSCREDIT_NAMESPACE.
    """
    with _opened(bootstrap, registry, namespace) as found:
        chosen = [each for each in found.notices if _is_meant(each, status, endpoint)]
    if json:
        for each in chosen:
            print(_as_json(each))
        return
    for line in _lines(chosen):
        print(line)
    print(f"{len(chosen)} of {len(found.notices)} notices." + _hint(chosen))


def resend_command(
    *ids: str,
    dead: Flag = False,
    endpoint: str | None = None,
    dry_run: Flag = False,
    bootstrap: str | None = None,
    registry: str | None = None,
    namespace: str | None = None,
) -> None:
    """Have notices delivered again, under the ids and with the bodies that they had; a worker with notify does it.

    For example: crosscredit webhooks resend --dead --endpoint bakery

    What waits for its next attempt is tried at once. What was delivered is delivered again.

    Parameters
    ----------
    ids
        Ids of notices (webhook-id), as list shows them.
    dead
        All that were given up.
    endpoint
        Only those for this endpoint.
    dry_run
        Send nothing; say what would be sent.
    bootstrap
        A Kafka broker, as host:port. Also CROSSCREDIT_KAFKA_BOOTSTRAP; TLS and SASL come from CROSSCREDIT_KAFKA_… too.
    registry
        The address of a schema registry. Also CROSSCREDIT_REGISTRY. Without it, the schemas of this program.
    namespace
        The beginning of the names of consumer groups, as the workers have it. Also CROSSCREDIT_NAMESPACE.
    """
    from pipeline.settings import SettingsError
    from pipeline.webhooks.notice_log import send_again

    if bool(ids) == dead:
        raise SettingsError("Name the ids of notices, or --dead for all that were given up: one of the two.")
    with _opened(bootstrap, registry, namespace) as found:
        in_all = {each.notice.notice_id for each in found.notices}
        if unknown := [each for each in ids if each not in in_all]:
            raise SettingsError(f"There is no notice {unknown[0]}. See: crosscredit webhooks list --status all")
        chosen = [
            each for each in found.notices
            if _is_meant(each, "dead" if dead else "all", endpoint) and (dead or each.notice.notice_id in ids)
        ]  # fmt: skip
        if not dry_run:
            send_again(found.config, found.outcomes, chosen)
    for line in _lines(chosen):
        print(line)
    print(f"{len(chosen)} notices {'would be' if dry_run else 'are'} sent again.")


class _Found(NamedTuple):
    notices: list[Kept]
    outcomes: Outcomes
    config: ConfluentConfig


@contextmanager
def _opened(bootstrap: str | None, registry: str | None, namespace: str | None) -> Iterator[_Found]:
    from pipeline.agents.log_reader import LogReader
    from pipeline.agents.outcomes import Outcomes
    from pipeline.kafka.clients import KafkaSettings, confluent_config
    from pipeline.kafka.topics import verify_all_topics
    from pipeline.settings import settings_of
    from pipeline.topology import group_of
    from pipeline.webhooks.notice_log import read_notices
    from pipeline.wire.messages import Messages
    from pipeline.wire.schema_ids import LocalSchemas, RegistrySchemas

    settings = settings_of(os.environ, registry=registry, namespace=namespace)
    config = confluent_config(KafkaSettings.from_environment(os.environ, bootstrap))
    schemas: Any = RegistrySchemas(settings.registry) if settings.registry else LocalSchemas()
    partitions = verify_all_topics(config)
    outcomes = Outcomes(Messages(schemas))
    log = LogReader(config, group_of("notify", settings.namespace))
    try:
        yield _Found(read_notices(log, outcomes, partitions), outcomes, config)
    finally:
        log.close()


def _is_meant(kept: Kept, status: str, endpoint: str | None) -> bool:
    notice = kept.notice
    now = "waiting" if notice.status == "resend" else notice.status
    return (status == "all" or now == status or (status == "open" and now != "delivered")) and (
        endpoint in (None, notice.endpoint)
    )


def _lines(notices: Sequence[Kept]) -> Iterator[str]:
    from pipeline.webhooks.notices import instant

    for _, each in notices:
        reason = f"  {each.reason}" if each.reason else ""
        yield (
            f"{each.status:<9}  {each.endpoint:<16}  {each.type:<18}  {instant(each.happened_at)}  "
            f"{each.attempts:>3} attempts  {each.notice_id}{reason}"
        )


def _as_json(kept: Kept) -> str:
    from pipeline.webhooks.notices import instant

    notice = kept.notice
    names = ("status", "endpoint", "notice_id", "type", "attempts", "reason", "body")
    shown = {name: getattr(notice, name) for name in names}
    times = {name: instant(getattr(notice, name)) for name in ("happened_at", "created_at", "updated_at")}
    return json.dumps(shown | times, ensure_ascii=False)


def _hint(notices: Sequence[Kept]) -> str:
    if any(each.notice.status == "dead" for each in notices):
        return " Once the endpoint works again: crosscredit webhooks resend --dead"
    return ""
