"""`DIR/observer` names the only way to watch reads that is tried, or `none`."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightingale.contract.build import LaunchMount, LaunchSpec
from nightingale.contract.vocabulary import ReasonCode
from nightingale_build.launcher.folders import InstanceFolders
from nightingale_build.launcher.observing import ObserverKeeper
from nightingale_build.launcher.refusal import RefusalError


def keeper(folder: Path, tier: int) -> ObserverKeeper:
    root = folder / "instances" / "i-0123456789"
    spec = LaunchSpec(
        instance_id=root.name,
        name="brain",
        owner="ada",
        owner_uid=None,
        generation=1,
        instance_dir=str(root),
        home_dir=str(folder / "home"),
        python="/nowhere/python",
        cores=1,
        memory_mib=512,
        disk_gib=1,
        tier=tier,
        datasets=(LaunchMount(dataset="ct", version="1", tier=tier, source="/nowhere/ct/1"),),
    )
    return ObserverKeeper(spec, InstanceFolders(root))


def test_without_recording_open_data_is_mounted_and_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "observer").write_text("none\n", encoding="ascii")
    made = keeper(tmp_path, 0)
    made.start()
    assert made.seen.name is None
    assert "switched" in made.seen.words
    assert made.sources == {}


@pytest.mark.parametrize("tier", [1, 2, 3])
def test_without_recording_anything_stricter_is_refused(tmp_path: Path, tier: int) -> None:
    (tmp_path / "observer").write_text("none", encoding="ascii")
    with pytest.raises(RefusalError) as refused:
        keeper(tmp_path, tier).start()
    assert refused.value.code is ReasonCode.OBSERVER_UNAVAILABLE
    assert str(tmp_path / "observer") in refused.value.next_step


@pytest.mark.parametrize("words", ["", "ptrace", "fanotify fuse"])
def test_a_setting_that_names_no_way_is_refused_at_every_tier(tmp_path: Path, words: str) -> None:
    (tmp_path / "observer").write_text(words, encoding="ascii")
    with pytest.raises(RefusalError) as refused:
        keeper(tmp_path, 0).start()
    assert refused.value.code is ReasonCode.OBSERVER_UNAVAILABLE
    assert "fanotify, fanotify-open, fuse, fuse-open, none" in refused.value.next_step
