"""`crosscredit partner`: what each partner may see of ClickHouse and Grafana, given, taken away and looked over."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import App, Parameter

from pipeline.cli_terminal import console, say

if TYPE_CHECKING:
    from pipeline.clickhouse.warehouse import Warehouse
    from pipeline.domain.terms import Catalogue
    from pipeline.partners.grafana import Grafana, GrafanaAddress
    from pipeline.partners.scope import Scope
    from pipeline.settings import Settings

Files = Annotated[list[str], Parameter(consume_multiple=True, negative=())]
Flag = Annotated[bool, Parameter(negative=())]

WHOLE: Final = 0
FLAWED: Final = 1

_PASSWORD: Final = "password"


def add_to(app: App) -> None:
    """Give the command line the commands."""
    partner = App(
        name="partner", help="Let partners look at their own figures in ClickHouse and Grafana, and no others."
    )
    partner.command(add_command, name="add")
    partner.command(remove_command, name="remove")
    partner.command(list_command, name="list")
    app.command(partner)


def add_command(
    program_id: str,
    /,
    *partner_id: str,
    program: Files,
    secrets: Path | None = None,
    new_password: Flag = False,
    clickhouse_url: str | None = None,
    clickhouse_database: str | None = None,
    grafana: str | None = None,
    grafana_clickhouse: str = "clickhouse:9000",
    grafana_clickhouse_tls: Flag = False,
    dashboard: Annotated[list[Path] | None, Parameter(consume_multiple=True, negative=())] = None,
) -> None:
    """Give partners of a program access to their own figures: a ClickHouse user each, and a Grafana organisation.

    For example: crosscredit partner add acme-friends bakery roaster --program terms/ --secrets secrets/partners

    To repeat it changes nothing, and mends what is not whole. Do so after each upgrade of crosscredit. A partner of
    several programs is added to each of them: partner ids are a program's own. The ClickHouse user that this command
    uses must be one that may manage users; it and Grafana's administrator are told by variables, passwords by file:
    CROSSCREDIT_CLICKHOUSE_USERNAME, CROSSCREDIT_CLICKHOUSE_PASSWORD_FILE, CROSSCREDIT_GRAFANA_USERNAME (admin),
    CROSSCREDIT_GRAFANA_PASSWORD_FILE.

    Parameters
    ----------
    program_id
        The program, as the terms call it.
    partner_id
        Its partners, as the terms call them.
    program
        Terms of the programs, the same that the workers run with: TOML files, one a version, or folders of them.
    secrets
        A folder for the passwords, one file a partner, which nobody else may read. Without it a new password is
        printed, once.
    new_password
        Make a new password also where there is a user already. The old one stops working at once.
    clickhouse_url
        ClickHouse's HTTP interface.
    clickhouse_database
        The database that the workers write to.
    grafana
        The address of a Grafana, to make an organisation there with the partner's data source and dashboards.
    grafana_clickhouse
        ClickHouse's native interface, as Grafana reaches it.
    grafana_clickhouse_tls
        Grafana is to speak TLS to it.
    dashboard
        Files of dashboards to put there. The first is what the partner sees at once.
    """
    from pipeline.partners import server
    from pipeline.partners.grafana import ClickHouseForGrafana
    from pipeline.terms_files import load_catalogue

    settings, address = _settings(clickhouse_url, clickhouse_database, grafana)
    scopes = _scopes(load_catalogue([Path(each) for each in program]), settings, program_id, partner_id)
    clickhouse = ClickHouseForGrafana.parse(grafana_clickhouse, is_tls=grafana_clickhouse_tls)
    dashboards = [_dashboard(path) for path in dashboard or ()]
    api = _grafana(address)
    with _warehouse(settings) as warehouse:
        for scope in scopes:
            password = _password_of(
                scope, secrets, renew=new_password, is_new=not server.has_user(warehouse, scope.name)
            )
            server.add(warehouse, scope, password=password, renew=new_password)
            if api is not None:
                api.provide(scope, clickhouse, password or _kept(scope, secrets), dashboards)
            _tell(scope, password, secrets)


def remove_command(
    program_id: str,
    /,
    *partner_id: str,
    secrets: Path | None = None,
    clickhouse_url: str | None = None,
    clickhouse_database: str | None = None,
    grafana: str | None = None,
) -> None:
    """Take away all that `crosscredit partner add` gave; the figures themselves stay.

    For example: crosscredit partner remove acme-friends bakery --secrets secrets/partners

    Parameters
    ----------
    program_id
        The program.
    partner_id
        Its partners. They need not be in the terms any more.
    secrets
        The folder of passwords, to remove the partner's file from.
    clickhouse_url
        ClickHouse's HTTP interface.
    clickhouse_database
        The database that the workers write to.
    grafana
        The address of a Grafana, to remove the partner's organisation there, with everything in it.
    """
    from pipeline.partners import server
    from pipeline.partners.scope import Scope

    settings, address = _settings(clickhouse_url, clickhouse_database, grafana)
    _need_partners(partner_id)
    api = _grafana(address)
    with _warehouse(settings) as warehouse:
        for each in partner_id:
            scope = Scope(settings.clickhouse_database, "", program_id, each)
            was_there = server.remove(warehouse, scope)
            was_in_grafana = api is not None and api.remove(scope)
            if secrets is not None:
                _file(scope, secrets).unlink(missing_ok=True)
            what = "removed" if was_there or was_in_grafana else "had no access"
            console().print(f"{program_id} {each}: {what}", highlight=False, markup=False)


def list_command(
    *,
    program: Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())] = None,
    clickhouse_url: str | None = None,
    clickhouse_database: str | None = None,
) -> int:
    """List who has access, and whether it is whole.

    For example: crosscredit partner list --program terms/

    Exit status 0 if all of it is whole, 1 if something is missing, differs or is too much: `crosscredit partner add`
    mends it.

    Parameters
    ----------
    program
        Terms, to list also the partners that have no access.
    clickhouse_url
        ClickHouse's HTTP interface.
    clickhouse_database
        The database that the workers write to.
    """
    from pipeline.partners import server
    from pipeline.partners.check import flaws
    from pipeline.terms_files import load_catalogue

    catalogue = load_catalogue([Path(each) for each in program]) if program else None
    settings, _ = _settings(clickhouse_url, clickhouse_database, None)
    out = console()
    with _warehouse(settings) as warehouse:
        scopes = server.listed(warehouse, settings.clickhouse_database)
        schema = server.schema_of(warehouse, settings.clickhouse_database)
        found = {scope: flaws(warehouse, scope, schema) for scope in scopes}
    for scope, wrong in found.items():
        state = "whole" if not wrong else f"not whole: {'; '.join(wrong)}"
        line = f"{scope.program_id} {scope.partner_id}: user {scope.name}, {state}"
        out.print(line, highlight=False, markup=False, soft_wrap=True)
    for program_id, partner_id in _without_access(catalogue, scopes):
        out.print(f"{program_id} {partner_id}: no access", highlight=False, markup=False, soft_wrap=True)
    if not scopes:
        out.print("Nobody has access. `crosscredit partner add` gives it.", highlight=False, markup=False)
    return FLAWED if any(found.values()) else WHOLE


def _without_access(catalogue: Catalogue | None, scopes: list[Scope]) -> list[tuple[str, str]]:
    known = {(scope.program_id, scope.partner_id) for scope in scopes}
    programs = catalogue.programs.values() if catalogue else ()
    ids = {(each.id, partner) for each in programs for version in each.versions for partner in version.partners}
    return sorted(ids - known)


def _settings(
    clickhouse_url: str | None, clickhouse_database: str | None, grafana: str | None
) -> tuple[Settings, GrafanaAddress | None]:
    from pipeline.partners.grafana import GrafanaAddress
    from pipeline.settings import grafana_login, settings_of

    settings = settings_of(os.environ, clickhouse_url=clickhouse_url, clickhouse_database=clickhouse_database)
    if grafana is None:
        return settings, None
    return settings, GrafanaAddress(grafana, *grafana_login(os.environ))


def _grafana(address: GrafanaAddress | None) -> Grafana | None:
    from pipeline.partners.grafana import Grafana

    return None if address is None else Grafana(address)


def _warehouse(settings: Settings) -> Warehouse:
    from pipeline.clickhouse.warehouse import Warehouse

    return Warehouse.server(
        settings.clickhouse_url,
        settings.clickhouse_database,
        username=settings.clickhouse_username,
        password=settings.clickhouse_password,
        create=False,
    )


def _scopes(catalogue: Catalogue, settings: Settings, program_id: str, partner_ids: tuple[str, ...]) -> list[Scope]:
    """The partners as the terms know them, in any version.

    :raises PartnerError: the terms do not know one.
    """
    from pipeline.partners.scope import Scope
    from pipeline.partners.server import PartnerError

    program = catalogue.programs.get(program_id)
    if program is None:
        known = ", ".join(catalogue.programs)
        raise PartnerError(f"The terms have no program {program_id!r}. They have {known}.")
    _need_partners(partner_ids)
    partners = sorted({partner for version in program.versions for partner in version.partners})
    for each in partner_ids:
        if each not in partners:
            raise PartnerError(f"{program_id} has no partner {each!r}. Its partners are {', '.join(partners)}.")
    return [
        Scope(settings.clickhouse_database, program.brand_id, program_id, each, program.time_zone)
        for each in partner_ids
    ]


def _need_partners(partner_ids: tuple[str, ...]) -> None:
    from pipeline.partners.server import PartnerError

    if not partner_ids:
        raise PartnerError("Name at least one partner after the program, as the terms call it.")


def _dashboard(path: Path) -> dict[str, Any]:
    from pipeline.partners.grafana import GrafanaError

    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GrafanaError(f"The dashboard {path} cannot be read ({error}). Name a file of dashboards/.") from error
    if not isinstance(found, dict) or not found.get("uid"):
        raise GrafanaError(f"{path} is no dashboard with a uid. Name a file of dashboards/.")
    return found


def _file(scope: Scope, secrets: Path) -> Path:
    return secrets / f"{scope.name}.{_PASSWORD}"


def _kept(scope: Scope, secrets: Path | None) -> str | None:
    from pipeline.partners.passwords import read_password

    return None if secrets is None else read_password(_file(scope, secrets))


def _password_of(scope: Scope, secrets: Path | None, *, renew: bool, is_new: bool) -> str | None:
    """The password to set, written to its file before the server hears of it; None: the user keeps its own."""
    from pipeline.partners.passwords import new_password, write_password

    if not (renew or is_new):
        return None
    password = (None if renew else _kept(scope, secrets)) or new_password()
    if secrets is not None:
        write_password(_file(scope, secrets), password)
    return password


def _tell(scope: Scope, password: str | None, secrets: Path | None) -> None:
    out = console()
    out.print(
        f"{scope.program_id} {scope.partner_id}: user and database {scope.name}", highlight=False, markup=False,
        soft_wrap=True,
    )  # fmt: skip
    if password is None:
        say("  Its password is as before. --new-password makes a new one.")
    elif secrets is not None:
        say(f"  Its password is in {_file(scope, secrets)}.")
    else:
        out.print(f"  password {password}", highlight=False, markup=False, soft_wrap=True)
        say("  It is shown this once. --secrets FOLDER writes it to a file instead.")
