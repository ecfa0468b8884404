"""The kept end of a server's log: whoever follows it misses nothing, or reads that something is missing."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from nightingale.domain.server_log import GAP, GONE, KEPT_BYTES, LINE_CHARACTERS, ServerLog

LINES = st.lists(st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=40), max_size=5)


def grown(log: ServerLog, number: int, *lines: str, generation: int = 1, has_gap: bool = False) -> ServerLog:
    return log.grown(generation, number, lines, has_gap=has_gap)


@settings(max_examples=60, deadline=None)
@given(st.lists(LINES, max_size=8), st.integers(1, 4))
def test_who_follows_from_the_first_line_reads_each_line_once(reports: list[list[str]], limit: int) -> None:
    log, read, offset = ServerLog(), list[str](), 0
    for number, lines in enumerate(reports, 1):
        log = grown(log, number, *lines)
        while (found := log.read(offset, limit))[0]:
            read += found[0]
            offset = found[1]
    assert read == [line for lines in reports for line in lines]
    assert offset == log.end == sum(len(line.encode()) + 1 for line in read)


def test_the_oldest_lines_go_and_who_comes_late_is_told_so() -> None:
    log = ServerLog()
    for number in range(1, 5):
        log = grown(log, number, *(f"{number}-{line:03d} {'é' * 490}" for line in range(20)))
    assert len(log.text.encode()) <= KEPT_BYTES
    assert log.begin > 0
    lines, after = log.read(0, 2)
    assert lines[0] == GONE
    assert after == log.begin + len(lines[1].encode()) + 1
    rest, end = log.read(after, 1000)
    assert (rest[-1][:5], end) == ("4-019", log.end)
    assert GONE not in rest
    assert log.read(0, 1) == ((GONE,), log.begin)


def test_the_last_lines_begin_where_they_are_asked_for() -> None:
    log = grown(ServerLog(), 1, "one", "two", "three")
    assert log.read(log.tail_offset(2), 2) == (("two", "three"), log.end)
    assert log.tail_offset(9) == 0
    assert (log.tail_offset(0), log.read(log.end, 5)) == (log.end, ((), log.end))
    assert log.read(0, 0) == ((), 0)
    cut = ServerLog(1, 1, begin=50, text="one\ntwo\n")
    assert cut.read(cut.tail_offset(3), 3)[0] == (GONE, "one", "two")
    assert cut.read(cut.tail_offset(2), 2)[0] == ("one", "two")


def test_an_offset_beyond_the_end_is_of_a_log_that_is_forgotten() -> None:
    assert grown(ServerLog(), 1, "anew").read(4_000, 9) == (("anew",), 5)
    assert grown(ServerLog(), 1, "anew").read(-3, 9) == (("anew",), 5)


def test_offsets_go_on_over_starts_and_what_is_missing_is_said() -> None:
    log = grown(ServerLog(), 1, "first")
    offset = log.end
    log = grown(log, 1, "second", generation=4)
    assert log.read(offset, 9)[0] == ("(start 4 of the server)", "second")
    assert log.has(4, 1)
    assert log.has(1, 77)
    assert not log.has(4, 2)
    offset = log.end
    assert grown(log, 2, "third", generation=4, has_gap=True).read(offset, 9)[0] == (GAP, "third")
    assert grown(log, 3, "third", generation=4).read(offset, 9)[0] == (GAP, "third")
    assert grown(log, 2, generation=4).read(offset, 9) == ((), offset)


def test_a_line_is_cut_so_that_one_item_holds_the_log() -> None:
    assert grown(ServerLog(), 1, "x" * 9_000).end == LINE_CHARACTERS + 1
