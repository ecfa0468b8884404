"""Words for an image that is not what was installed."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from nightingale.contract.images import Drift
from nightingale.contract.schemas import DriftedFileOut, ImageCheckOut
from nightingale.contract.vocabulary import Status
from nightingale_tui.images import image_words
from tui.app.sample_data import instance

AT = datetime(2026, 1, 1, tzinfo=UTC)
FILE = DriftedFileOut(
    path="/image/os.py", drift=Drift.CHANGED, expected="a" * 64, seen="b" * 64, expected_from="RECORD"
)
GONE = DriftedFileOut(path="/image/re.py", drift=Drift.MISSING, expected="a" * 64, seen="", expected_from="first seen")


def words(check: ImageCheckOut | None) -> str:
    return image_words(msgspec.structs.replace(instance(1, "scan", Status.RUNNING), image_check=check))


def test_nothing_is_said_of_an_image_that_is_as_installed():
    assert words(None) == ""
    assert words(ImageCheckOut(checked_at=AT, is_full=True, drifted=0)) == ""


def test_drifted_files_are_named_with_what_was_expected_and_what_is_there():
    said = words(ImageCheckOut(checked_at=AT, is_full=True, drifted=2, drift=(FILE, GONE)))
    assert said.startswith("2 of its files NOT as installed: ")
    assert "/image/os.py: changed, expected aaaaaaaaaaaa… (RECORD), seen bbbbbbbbbbbb…" in said
    assert "/image/re.py: missing, expected aaaaaaaaaaaa… (first seen), seen no file" in said


def test_of_many_some_are_named_and_the_rest_counted():
    said = words(ImageCheckOut(checked_at=AT, is_full=True, drifted=40, drift=(FILE,) * 20))
    assert said.count("/image/os.py") == 3
    assert said.endswith("and 37 more")
