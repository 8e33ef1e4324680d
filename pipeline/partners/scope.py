"""Whom an access is for: one partner of one program, and the names of everything that is made for it.

Partner ids are a program's own: ``bakery`` of one program and ``bakery`` of another may be two firms. So each has a
user, a database and an organisation of its own, and a person who is a partner in several programs is let into several.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

_SLUG_LENGTH: Final = 24
_NOT_PLAIN: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Scope:
    """A partner of a program, in the ClickHouse database ``base`` that crosscredit writes to."""

    base: str
    brand_id: str
    program_id: str
    partner_id: str
    time_zone: str = "UTC"  # the program's

    @property
    def name(self) -> str:
        """The name of the user, its database, profile, quota and row policies: ASCII, at most 128 characters.

        Two partners never share one: what the readable part cannot tell apart the hash of the ids does.
        """
        identity = "\0".join((self.base, self.program_id, self.partner_id)).encode()
        readable = (_slug(self.base), _slug(self.program_id), _slug(self.partner_id))
        return "_".join((*readable, hashlib.sha256(identity).hexdigest()[:8]))

    @property
    def owner(self) -> str:
        """The user in whose name the partner's views read. Nobody can log in as it."""
        return f"{self.name}_views"

    @property
    def registry(self) -> str:
        """The database in which the command keeps the list of partners: see :mod:`pipeline.partners.registry`."""
        return registry_of(self.base)


def registry_of(base: str) -> str:
    """The database with the list of partners of the database ``base``."""
    return f"{base}_partners"


def _slug(text: str) -> str:
    return _NOT_PLAIN.sub("_", text.lower()).strip("_")[:_SLUG_LENGTH].strip("_") or "x"
