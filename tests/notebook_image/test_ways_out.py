"""Each known way to take a file out through Jupyter's HTTP API is tried at each tier, and the records are compared."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from nightingale_local.demo_material import MARK
from nightingale_local.ways_out import WAYS, misjudged

from .conftest import IMAGE_PYTHON, Instance
from .fake_platform import TOKEN, FakePlatform
from .planted import plant_in
from .raw_http import ask

pytestmark = [pytest.mark.image, pytest.mark.slow]  # each starts real servers
ROUTES_OF = Path(__file__).with_name("routes_of.py")


def at_tier(new_instance: Callable[[], Instance], tier: int) -> Instance:
    """An instance of that tier with everything planted, not started."""
    instance = new_instance()
    token_file = instance.folder / "instance.token"
    token_file.touch(mode=0o600)
    token_file.write_text(TOKEN)
    instance.environment |= {"NIGHTINGALE_TIER": str(tier), "NIGHTINGALE_INSTANCE_TOKEN_FILE": str(token_file)}
    plant_in(instance)
    return instance


@pytest.mark.parametrize("tier", [0, 1, 2, 3])
async def test_every_known_way_does_at_this_tier_what_the_table_says(
    new_instance: Callable[[], Instance], tier: int
) -> None:
    instance = at_tier(new_instance, tier)
    platform = FakePlatform()
    wrong: list[str] = []
    async with platform.listen(instance.run / "platform.sock"):
        instance.launch()
        await instance.wait_until_ready()
        headers = {"Authorization": f"token {instance.token}"}
        for way in WAYS:
            answer = await ask(instance.socket, way.method, way.target, headers | dict(way.headers), way.body)
            problem = misjudged(way, way.tiers[tier], answer.status, answer.body)
            if problem:
                wrong.append(problem)
            assert answer.headers.get("access-control-allow-origin", "") == ""  # no other origin
        assert not wrong, "\n".join(wrong)
        letters = [way.tiers[tier] for way in WAYS]
        records = await platform.wait_for(sum(letters.count(letter) for letter in "rRx"))
    assert [record["is_allowed"] for record in records] == [letter != "x" for letter in letters if letter in "rRx"]
    assert all(record["bytes"] > 0 for record in records if record["kind"] in {"export", "contents_read"})
    assert all(bool(record["reason"]) is not record["is_allowed"] for record in records)
    assert MARK.decode() not in json.dumps(records)
    assert "Traceback" not in instance.log_text()


async def test_without_a_login_no_way_gives_anything_planted(new_instance: Callable[[], Instance]) -> None:
    instance = at_tier(new_instance, 0)
    instance.launch()
    await instance.wait_until_ready()
    for way in WAYS:
        answer = await ask(instance.socket, way.method, way.target, way.headers, way.body)
        if way.target != "/nbconvert/script":  # what it was sent, it would send back
            assert MARK not in answer.body, way
        assert answer.status >= 300 or way.tiers[0] == ".", way


@cache
def routes(tier: int) -> dict[str, Any]:
    """Ask a server of this tier, in its own interpreter, for its routing table; see routes_of.py."""
    done = subprocess.run(
        [IMAGE_PYTHON, "-P", ROUTES_OF, str(tier)], capture_output=True, text=True, check=True, timeout=60
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("tier", [0, 2])
def test_every_route_of_the_server_is_known_and_tried(image_python: Path, tier: int) -> None:
    assert image_python
    table = routes(tier)["table"]
    unknown = [pattern for pattern, name in table.items() if name.endswith("RefusedHandler")]
    assert not unknown, f"not in routes.HOLDS: {unknown}"
    paths = [way.target.split("?")[0] for way in WAYS]
    untried = [pattern for pattern in table if not any(re.match(pattern, path) for path in paths)]
    assert not untried, f"not in ways_out.WAYS: {untried}"


def test_a_handler_that_nobody_listed_is_closed(image_python: Path) -> None:
    assert image_python
    found = routes(0)
    assert found["added"] == "nightingale_instance.answers.RefusedHandler"
    assert found["closed"] == ["__main__.BrandNewHandler"]
    assert found["table"]["/api$"] == "jupyter_server.base.handlers.APIVersionHandler"
