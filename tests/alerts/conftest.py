"""One live test at a time, as in tests/live."""

from tests.live.conftest import _alone

__all__ = ["_alone"]
