"""What can go wrong with the warehouse, named by what the caller does next."""

from __future__ import annotations


class WarehouseError(Exception):
    """The warehouse cannot be used as asked. The message says what was wrong, where, and the remedy."""


class WarehouseUnavailableError(WarehouseError):
    """It cannot be used now (locked, disk full, out of memory): the same call may succeed later; repeating is safe."""
