"""SQL literals. Ids come from terms files and may hold any character."""

from __future__ import annotations


def text(value: str) -> str:
    """A string literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def name(value: str) -> str:
    """A quoted identifier."""
    return "`" + value.replace("\\", "\\\\").replace("`", "\\`") + "`"


def place(database: str, table: str) -> str:
    """``database.table``, quoted; an empty table stands for every table of the database, later ones too."""
    return f"{name(database)}.{name(table) if table else '*'}"
