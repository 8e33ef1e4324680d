"""A ``users.xml`` from the same values as the SQL of ``crosscredit partner add``.

The embedded engine is the real one, but keeps no users that SQL could make: it reads them from such a file when it
starts, and whoever connects is the user ``default``. So the file gives ``default`` what it gives to the user to be
played. Two things cannot be said in the file: that a setting may be changed in read-only mode, and that a policy is
restrictive or for every table of a database; policies are written for each table by itself instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from pipeline.partners.access import Access, Grant, Policy, User
from pipeline.partners.limits import LIMITS, QUOTA, QUOTA_INTERVAL_S

Tables = Mapping[str, Sequence[str]]
"""The tables and views of each database."""

ADMIN = (
    "<default><password></password><profile>default</profile><quota>default</quota><networks><ip>::/0</ip></networks>"
    "<access_management>1</access_management></default>"
)


def users_xml(accesses: Iterable[Access], tables: Tables, default: str = ADMIN) -> str:
    """All users; ``default`` is who connects."""
    users, profiles, quotas = [default], ["<default/>"], ["<default/>"]
    for access in accesses:
        users += [user_xml(access.partner, tables, access.scope.name), user_xml(access.owner, tables)]
        profiles.append(_profile(access.scope.name))
        quotas.append(_quota(access.scope.name))
    return (
        f"<clickhouse><profiles>{''.join(profiles)}</profiles><quotas>{''.join(quotas)}</quotas>"
        f"<users>{''.join(users)}</users></clickhouse>"
    )


def user_xml(
    user: User, tables: Tables, profile: str = "", name: str = "", more: Sequence[Grant] = (), policies: bool = True
) -> str:
    """One user, under another name if one is given, with more grants or without policies where a wall is to fall."""
    grants = "".join(f"<query>GRANT {escape(grant.sql)}</query>" for grant in (*user.grants, *more))
    found = "".join(_policies(user.policies, tables)) if policies else ""
    kept, called = profile or "default", name or user.name
    return (
        f"<{called}><password></password><profile>{kept}</profile><quota>{kept}</quota><networks><ip>::/0</ip></networks>"
        f"<grants>{grants}</grants><databases>{found}</databases></{called}>"
    )


def config_xml(users: Path) -> str:
    """A configuration that names the file of users."""
    return f"<clickhouse><users_config>{users}</users_config></clickhouse>"


def _policies(policies: Iterable[Policy], tables: Tables) -> Iterable[str]:
    filters: dict[str, dict[str, str]] = {}
    for policy in policies:
        for table in [policy.table] if policy.table else tables.get(policy.database, ()):
            filters.setdefault(policy.database, {})[table] = policy.condition
    for database, conditions in filters.items():
        told = "".join(
            f"<{table}><filter>{escape(condition)}</filter></{table}>" for table, condition in conditions.items()
        )
        yield f"<{database}>{told}</{database}>"


def _profile(name: str) -> str:
    values = "".join(f"<{limit.setting}>{limit.value}</{limit.setting}>" for limit in LIMITS)
    fixed = "".join(
        f"<{limit.setting}>{f'<min>1</min><max>{limit.most}</max>' if limit.most else '<const/>'}</{limit.setting}>"
        for limit in LIMITS
    )
    return f"<{name}>{values}<constraints>{fixed}</constraints></{name}>"


def _quota(name: str) -> str:
    most = "".join(f"<{what}>{limit}</{what}>" for what, limit in QUOTA)
    return f"<{name}><interval><duration>{QUOTA_INTERVAL_S}</duration>{most}</interval></{name}>"
