"""Words for how full a home is."""

from __future__ import annotations

import msgspec
import pytest

from nightingale.contract.schemas import HomeOut
from nightingale.contract.vocabulary import Status
from nightingale_tui.homes import home_words
from tui.app.sample_data import instance

GIB = 1 << 30


@pytest.mark.parametrize(
    ("home", "words"),
    [
        (None, ""),
        (HomeOut(used_bytes=GIB // 2, limit_bytes=10 * GIB), "0.5 of 10.0 GiB used"),
        (HomeOut(used_bytes=10 * GIB, limit_bytes=10 * GIB, is_full=True), "10.0 of 10.0 GiB used, FULL"),
        (HomeOut(used_bytes=None, limit_bytes=None, words="It is a folder."), "not limited here: It is a folder."),
    ],
)
def test_a_home_is_told_by_what_is_used_of_it_or_why_nobody_knows(home: HomeOut | None, words: str) -> None:
    assert home_words(msgspec.structs.replace(instance(1, "scan", Status.RUNNING), home=home)) == words
