"""Keys sort as the ids in them do, and a prefix of whole ids matches exactly those."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.domain.story import Position
from pipeline.state import keys
from tests.drawn import DRAWN

# Every Unicode scalar value may occur, the two lowest bytes and their look-alikes often.
IDS = st.text(
    st.one_of(st.sampled_from("\x00\x01\x02ab\x7f\x80\uffee\U0001d51e"), st.characters(exclude_categories=["Cs"]))
)
PARTS = st.lists(IDS, min_size=1, max_size=4)
POSITIONS = st.builds(
    Position, st.integers(0, 7_258_118_399_999), IDS.filter(bool), st.integers(0, 3), IDS.filter(bool)
)


@DRAWN
@given(IDS)
@example("\x00")
@example("\x01\x01\x00\x02")
def test_an_id_comes_back_and_holds_no_zero_byte(text: str) -> None:
    encoded = keys.part(text)
    assert b"\x00" not in encoded
    assert keys.text(encoded) == text


@DRAWN
@given(PARTS)
def test_ids_come_back_from_a_key(ids: list[str]) -> None:
    assert keys.parts(keys.key(*ids)) == ids


@DRAWN
@given(st.lists(IDS))
def test_many_ids_become_the_same_parts_as_each_alone(ids: list[str]) -> None:
    parts = keys.parts_of(ids)
    assert parts == [keys.part(each) for each in ids]
    assert keys.texts_of(parts) == ids


@DRAWN
@given(PARTS, PARTS)
@example(["a\x00"], ["a", "b"])
@example(["a\x01"], ["a", "b"])
@example(["a"], ["a\x00b"])
@example(["a\x00b"], ["a", "b"])
def test_keys_sort_as_tuples_of_ids_do(left: list[str], right: list[str]) -> None:
    def by_bytes(ids: list[str]) -> tuple[bytes, ...]:
        return tuple(each.encode() for each in ids)

    assert (keys.key(*left) < keys.key(*right)) == (by_bytes(left) < by_bytes(right))
    assert (keys.key(*left) == keys.key(*right)) == (left == right)


@DRAWN
@given(PARTS, PARTS)
@example(["a"], ["a"])
@example(["a"], ["a", "b"])
@example(["a"], ["a\x00", "b"])
@example(["a", ""], ["a", "", ""])
def test_a_prefix_matches_exactly_the_keys_that_go_on_after_its_ids(prefix: list[str], ids: list[str]) -> None:
    goes_on = len(ids) > len(prefix) and ids[: len(prefix)] == prefix
    assert keys.key(*ids).startswith(keys.prefix(*prefix)) == goes_on


@DRAWN
@given(POSITIONS, POSITIONS)
@example(Position(5, "e", 0, "k"), Position(5, "e", 1, "k"))
@example(Position(5, "e", 3, "k"), Position(5, "e\x00", 0, "k"))
@example(Position(5, "e\x01", 3, "k"), Position(5, "e", 0, "k"))
@example(Position(255, "e", 0, "k"), Position(256, "e", 0, "k"))
@example(Position(5, "e", 0, "\x00"), Position(5, "e", 0, "\x01"))
def test_positions_sort_in_event_order(left: Position, right: Position) -> None:
    """(occurred_at, event_id, type, key), ids by their UTF-8 bytes."""

    def in_order(position: Position) -> tuple[int, bytes, int, bytes]:
        return position.at, position.event_id.encode(), position.rank, position.key.encode()

    assert (keys.position_key(left) < keys.position_key(right)) == (in_order(left) < in_order(right))
    assert (keys.position_key(left) == keys.position_key(right)) == (left == right)
