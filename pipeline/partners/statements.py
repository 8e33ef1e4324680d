"""A partner's access as SQL. Every statement may be run again: the second time it changes nothing, or mends.

The order matters: at no moment between two statements may the partner's user read more than it should. It comes to life
without a grant, and is granted its views last. Nothing hangs on a role: a user can step out of a role by SET ROLE NONE.
Users and profiles are altered, never replaced, because others refer to them by an inner id that a replacement changes.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.partners.access import Access, Policy, User
from pipeline.partners.limits import LIMITS, QUOTA, QUOTA_INTERVAL_S, Limit
from pipeline.partners.scope import Scope, registry_of
from pipeline.partners.sql import name, place, text


@dataclass(frozen=True, slots=True)
class Statement:
    """``is_access``: it is about users and rights, which the engine keeps apart from tables."""

    sql: str
    is_access: bool = True


@dataclass(frozen=True, slots=True)
class Secret:
    """A password as the server is told it: hashed, so that it is in no log and on no wire but at a login."""

    sha256: str
    salt: str

    @classmethod
    def of(cls, password: str) -> Secret:
        """With a fresh salt."""
        salt = secrets.token_hex(16)
        return cls(hashlib.sha256((password + salt).encode()).hexdigest(), salt)

    @property
    def sql(self) -> str:
        """For CREATE USER and ALTER USER."""
        return f"IDENTIFIED WITH sha256_hash BY {text(self.sha256)} SALT {text(self.salt)}"


def registry_statements(base: str) -> Iterator[Statement]:
    """The list of partners: who they are, and the key of the pseudonyms that each of them sees."""
    registry = registry_of(base)
    yield Statement(f"CREATE DATABASE IF NOT EXISTS {name(registry)}", is_access=False)
    yield Statement(
        f"CREATE TABLE IF NOT EXISTS {place(registry, 'partners')} (name String, brand_id String, program_id String, "
        "partner_id String, time_zone String, key String, added_at DateTime64(3, 'UTC'), version UInt64, "
        "is_deleted UInt8 DEFAULT 0) ENGINE = ReplacingMergeTree(version, is_deleted) ORDER BY name",
        is_access=False,
    )


def user_statements(access: Access, secret: Secret | None) -> Iterator[Statement]:
    """The partner's user, which may read nothing yet; with a new password where one is given."""
    scope = access.scope
    settings = ", ".join(map(_setting, LIMITS))
    yield Statement(f"CREATE SETTINGS PROFILE IF NOT EXISTS {name(scope.name)} SETTINGS {settings}")
    yield Statement(f"ALTER SETTINGS PROFILE {name(scope.name)} SETTINGS {settings}")
    told = f" {secret.sql}" if secret else ""
    rest = f"DEFAULT ROLE NONE DEFAULT DATABASE {name(scope.name)} SETTINGS PROFILE {text(scope.name)}"
    if secret:
        yield Statement(f"CREATE USER IF NOT EXISTS {name(scope.name)}{told} HOST ANY {rest}")
    yield Statement(f"ALTER USER {name(scope.name)}{told} {rest}")
    limits = ", ".join(f"{what} = {most}" for what, most in QUOTA)
    yield Statement(
        f"CREATE QUOTA OR REPLACE {name(scope.name)} KEYED BY user_name FOR INTERVAL {QUOTA_INTERVAL_S} SECOND "
        f"MAX {limits} TO {name(scope.name)}"
    )
    yield from _policies(access.partner)


def view_statements(access: Access) -> Iterator[Statement]:
    """The owner, the database and the views, and at last the right to read them."""
    scope = access.scope
    yield Statement(f"CREATE DATABASE IF NOT EXISTS {name(scope.name)}", is_access=False)
    nobody = Secret.of(secrets.token_hex(32))
    yield Statement(f"CREATE USER IF NOT EXISTS {name(scope.owner)} {nobody.sql} HOST NONE")
    yield Statement(f"ALTER USER {name(scope.owner)} HOST NONE DEFAULT ROLE NONE")
    yield from _policies(access.owner)
    yield _grant(access.owner)
    for view in access.views:
        yield Statement(
            f"CREATE OR REPLACE VIEW {place(scope.name, view.name)} DEFINER = {name(scope.owner)} SQL SECURITY DEFINER "
            f"AS {view.select}",
            is_access=False,
        )
    yield _grant(access.partner)


def remove_statements(scope: Scope, policies: Sequence[tuple[str, str, str]]) -> Iterator[Statement]:
    """Take everything away, first what lets somebody in. ``policies`` are (short name, database, table) as found."""
    yield Statement(f"DROP USER IF EXISTS {name(scope.name)}")
    yield Statement(f"DROP DATABASE IF EXISTS {name(scope.name)} SYNC", is_access=False)
    yield Statement(f"DROP USER IF EXISTS {name(scope.owner)}")
    for short_name, database, table in policies:
        yield Statement(f"DROP ROW POLICY IF EXISTS {name(short_name)} ON {place(database, table)}")
    yield Statement(f"DROP QUOTA IF EXISTS {name(scope.name)}")
    yield Statement(f"DROP SETTINGS PROFILE IF EXISTS {name(scope.name)}")


def _policies(user: User) -> Iterator[Statement]:
    for policy in user.policies:
        yield Statement(policy_sql(user, policy))


def policy_sql(user: User, policy: Policy) -> str:
    """One row policy; it has the name of its user."""
    return (
        f"CREATE ROW POLICY OR REPLACE {name(user.name)} ON {place(policy.database, policy.table)} AS RESTRICTIVE "
        f"FOR SELECT USING {policy.condition} TO {name(user.name)}"
    )


def _grant(user: User) -> Statement:
    """All that the user may do: what it was granted before is replaced."""
    granted = ", ".join(grant.sql for grant in user.grants)
    return Statement(f"GRANT {granted} TO {name(user.name)} WITH REPLACE OPTION")


def _setting(limit: Limit) -> str:
    value = text(limit.value) if isinstance(limit.value, str) else str(limit.value)
    if limit.is_changeable:
        return f"{limit.setting} = {value} MIN 1 MAX {limit.most} CHANGEABLE_IN_READONLY"
    return f"{limit.setting} = {value} CONST"
