"""Machines in a cloud as a platform in memory hears of them: launched, identified, reporting."""

from __future__ import annotations

from typing import Any

import msgspec

from doubles.machine_proofs import ADDRESS, MACHINE, claim, token_of
from doubles.platforms import URL, FakePlatform, given
from nightingale.app.dispatch import Request, Response
from nightingale.contract.machines import IdentifyMachineIn
from nightingale.domain.machine import MachineStart
from nightingale.services.starts import StoredStarts


async def launch(platform: FakePlatform, machine: str = MACHINE, name: str = "scan") -> str:
    """Launch an instance whose build made this machine, and return its id: it is starting."""
    launched = platform.launch(name)
    platform.builder.finish(
        given(launched.build_id), address=ADDRESS, resource_ids={"home": "vol-1", "instance": machine}
    )
    platform.machines.remove(launched.id)  # nothing of it has been heard of yet
    platform.watch.refresh()
    await platform.watch.beat_in_flight()
    assert platform.get(name).status == "starting"
    return launched.id


def ask(platform: FakePlatform, body: IdentifyMachineIn, client: str = "192.0.2.9") -> Response:
    """Send a machine's claim."""
    return platform.dispatcher.handle("identify_machine", Request(body=msgspec.json.encode(body), client=client))


def identify(platform: FakePlatform, instance_id: str, machine: str = MACHINE, **changes: Any) -> Response:
    """Let a machine claim to be this instance's, with a fresh nonce."""
    nonce = platform.services.login.create_challenge().nonce
    return ask(platform, claim(instance_id, nonce, URL, machine, **changes))


def code_of(answer: Response) -> tuple[int, str]:
    """Return status and code of an answer."""
    return answer.status, msgspec.json.decode(answer.body).get("code", "")


def start_in(platform: FakePlatform, instance_id: str) -> MachineStart:
    """Return the instance's start as the store has it."""
    return given(StoredStarts(platform.store).find(instance_id))


def report(
    platform: FakePlatform, instance_id: str, body: dict[str, Any], number: int = 1, operation: str = "report_machine"
) -> Response:
    """Report how a start went, as the machine that made it."""
    token = token_of(instance_id, number=number)
    platform.machines.own_tokens[instance_id, True] = token
    return platform.dispatcher.handle(
        operation, Request(body=msgspec.json.encode(body), authorization=f"Bearer {token}")
    )
