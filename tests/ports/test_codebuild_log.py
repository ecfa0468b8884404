"""A build's log, read by byte out of CloudWatch Logs."""

from __future__ import annotations

import pytest

from nightingale.ports.builder import BuilderUnavailableError
from ports.codebuild_account import BUILD, Cloud, spec_of


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


def test_the_log_is_read_in_whole_lines_whose_offsets_stay(cloud: Cloud) -> None:
    assert cloud.builder().read_log(BUILD, 0, 10) == ((), 0)
    cloud.builder().start(spec_of())
    assert cloud.builder().read_log(BUILD, 0, 10) == ((), 0)
    events = ["plain\n", '{"@message": "eight \\u001b[1mbits"}\n', "two\nlines\n", "no end", "größe\n", "last\n"]
    cloud.logs.streams["00000000"] = events
    lines = ("plain", "eight [1mbits", "two", "lines", "no end", "größe", "last")
    all_lines, end = cloud.builder().read_log(BUILD, 0, 100)
    assert all_lines == lines
    assert end == sum(len(event.removesuffix("\n").encode()) + 1 for event in events)
    one_by_one = cloud.builder()
    offset = 0
    for expected in lines:
        found, following = one_by_one.read_log(BUILD, offset, 1)
        assert (found, following > offset) == ((expected,), True)
        assert cloud.builder().read_log(BUILD, offset, 1) == (found, following)  # whoever reads, from wherever
        offset = following
    assert offset == end
    assert one_by_one.read_log(BUILD, end, 10) == ((), end)
    events.append("more\n")
    assert one_by_one.read_log(BUILD, end, 10) == (("more",), end + 5)
    assert one_by_one.read_log(BUILD, 0, 1) == (("plain",), 6)


def test_following_a_log_does_not_read_it_from_its_start_each_time(cloud: Cloud) -> None:
    cloud.builder().start(spec_of())
    cloud.logs.streams["00000000"] = [f"line {number}\n" for number in range(300)]
    builder = cloud.builder()
    _, end = builder.read_log(BUILD, 0, 1000)
    builder.read_log(BUILD, end, 10)
    cloud.logs.calls.clear()
    cloud.logs.streams["00000000"].append("new\n")
    assert builder.read_log(BUILD, end, 10)[0] == ("new",)
    assert len(cloud.logs.calls) <= 4


def test_a_throttled_log_is_unavailable(cloud: Cloud) -> None:
    cloud.builder().start(spec_of())
    cloud.logs.streams["00000000"] = ["x\n"]
    cloud.logs.refuse("GetLogEvents", "ThrottlingException")
    with pytest.raises(BuilderUnavailableError, match="log"):
        cloud.builder().read_log(BUILD, 0, 10)
