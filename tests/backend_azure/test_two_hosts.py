"""Two hosts of one platform, both on the same store: one is killed, the other goes on."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from doubles.platforms import URL, FakePlatform
from nightingale.adapters.sqlite import open_store
from nightingale.contract import schemas as s
from nightingale.contract.schemas import LOGIN_NAMESPACE, SessionIn, login_message
from nightingale.domain.errors import RefusedError
from nightingale_tui.api.client import Api
from nightingale_tui.api.errors import ConflictError, UnreachableError

TESTS = Path(__file__).parents[1]


@contextmanager
def process_of(host: str, store: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start a host in a process of its own; yield it and its address."""
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-m", "backend_azure.serving", host, str(store)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), f"{host} did not begin"
        yield process, url
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("order", [("chalice", "functions"), ("functions", "chalice")])
def test_when_one_host_is_killed_the_client_goes_on_at_the_other(order: tuple[str, str], tmp_path: Path) -> None:
    store = tmp_path / "nightingale.db"
    platform = FakePlatform(store=open_store(store))  # gives the person a token; both hosts read the same store
    token = platform.token("grace")
    with ExitStack() as stack:
        (first, first_url), (second, second_url) = (stack.enter_context(process_of(host, store)) for host in order)
        api = stack.enter_context(Api(first_url, token, others=(second_url,)))
        launched = api.launch_instance("brain", s.LaunchIn(name="scan", request_id="k" * 32))
        assert api.url == first_url
        first.kill()
        first.wait()
        # The connection that was kept is dead, and so is the address: both ways lead to the other host.
        assert api.get_instance("brain", "scan").id == launched.id
        assert api.url == second_url
        again = api.launch_instance("brain", s.LaunchIn(name="scan", request_id="k" * 32))
        assert again.id == launched.id
        fresh = stack.enter_context(Api(first_url, token, others=(second_url,)))
        with pytest.raises(ConflictError):  # it is being built: the word of the other host, which was asked at once
            fresh.stop_instance("brain", "scan")
        second.kill()
        second.wait()
        with pytest.raises(UnreachableError):
            api.get_instance("brain", "scan")


def test_a_signature_for_one_host_opens_no_session_at_the_other(tmp_path: Path) -> None:
    here = FakePlatform(store=open_store(tmp_path / "nightingale.db"))
    there = dataclasses.replace(here.services.login, addresses=frozenset({"https://elsewhere.example"}))
    nonce = here.services.login.create_challenge().nonce
    signature = here.signatures.sign(here.signatures.key("ada"), login_message(URL, nonce), LOGIN_NAMESPACE)
    body = SessionIn(nonce=nonce, server=URL, signature=signature)
    with pytest.raises(RefusedError, match="another server"):
        there.create_session(body, "192.0.2.7")
    # And who renames the server has no signature for it.
    nonce = here.services.login.create_challenge().nonce
    signature = here.signatures.sign(here.signatures.key("ada"), login_message(URL, nonce), LOGIN_NAMESPACE)
    renamed = SessionIn(nonce=nonce, server="https://elsewhere.example", signature=signature)
    with pytest.raises(RefusedError):
        there.create_session(renamed, "192.0.2.7")
