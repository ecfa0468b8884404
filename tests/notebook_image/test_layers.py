"""Why three layers: at tier 2, each of them alone leaves a way round, which another closes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nightingale_local.demo_material import MARK
from nightingale_local.ways_out import IN_BASE64

from .conftest import IMAGE_PYTHON, Instance
from .planted import plant_in
from .raw_http import ask

pytestmark = [pytest.mark.image, pytest.mark.slow]  # each starts real servers
ONE_LAYER = Path(__file__).with_name("one_layer.py")
FILE = "/files/scan.dcm"
EXPORT = "/nbconvert/html/big.ipynb"
CONTENT = "/api/contents/scan.dcm?format=base64"


@pytest.mark.parametrize(
    ("layer", "closes", "leaves"),
    [
        ("files_handler", [FILE], [EXPORT, CONTENT]),
        ("authorizer", [FILE, EXPORT], [CONTENT]),
        ("contents_manager", [CONTENT, EXPORT], [FILE]),
    ],
)
async def test_one_layer_alone_leaves_a_way_round(
    new_instance: Callable[[], Instance], layer: str, closes: list[str], leaves: list[str]
) -> None:
    instance = new_instance()
    instance.environment["NIGHTINGALE_TIER"] = "2"
    plant_in(instance)
    instance.launch([str(IMAGE_PYTHON), "-P", str(ONE_LAYER), layer])
    await instance.wait_until_ready()
    for target in (FILE, EXPORT, CONTENT):
        answer = await ask(instance.socket, "GET", target, {"Authorization": f"token {instance.token}"})
        left = MARK in answer.body or IN_BASE64 in answer.body
        assert left is (target in leaves), (layer, target, answer.status, answer.body[:300])
        assert (answer.status == 403) is (target in closes), (layer, target, answer.status)
