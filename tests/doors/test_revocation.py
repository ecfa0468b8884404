"""What ends when somebody loses their place: sessions at once, tunnels with the next lease. The gateway's own process,
the system's ssh, the real core behind the real host; only time between two leases is shorter than in production."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec
import pytest

from backend_lambda.chalice_server import ChaliceServer, open_server
from doors.test_ssh_audit import laptop_with
from doubles.clusters import apply_cluster
from doubles.loops import run_apart
from doubles.machines import FakeMachines
from doubles.platforms import URL, FakePlatform, team_cluster
from infra.gateway.conftest import GatewayProcess, Laptop, Tunnel, _Jupyter, _UnixServer
from nightingale.contract.schemas import LOGIN_NAMESPACE, ClusterIn, MemberIn, login_message
from nightingale.contract.vocabulary import AuditTag, Role
from nightingale.services import records
from nightingale.services.gateway import LEASE_SECONDS
from nightingale_gateway.config import GatewayConfig

pytestmark = pytest.mark.slow  # each starts a gateway
ALLOWED_SECONDS = 30
HEART = "scan.heart"


@dataclass
class House:
    """Everything a test needs: ada with an instance `scan` in each of two projects, and her laptop with two keys."""

    platform: FakePlatform
    server: ChaliceServer
    gateway: GatewayProcess
    laptop: Laptop
    new_laptop: Laptop

    def apply(self, change: Callable[[ClusterIn], ClusterIn]) -> None:
        """Apply the cluster file as it is after a change."""
        apply_cluster(self.platform.store, change(self.platform.cluster))

    def login(self, laptop: Laptop) -> httpx.Response:
        """Log in with a laptop's key, over HTTP."""
        nonce = httpx.post(f"{self.server.url}/v1/login/challenges", trust_env=False).json()["nonce"]
        signature = self.platform.signatures.sign(laptop.public_key, login_message(URL, nonce), LOGIN_NAMESPACE)
        body = {"nonce": nonce, "server": URL, "signature": signature}
        return httpx.post(f"{self.server.url}/v1/sessions", json=body, trust_env=False)

    def get(self, path: str, token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.get(f"{self.server.url}{path}", headers=headers, trust_env=False).status_code

    def is_let_in(self, laptop: Laptop) -> bool:
        """Return whether the gateway takes the laptop's key."""
        answer = laptop.ssh(self.gateway, "-N", "-oExitOnForwardFailure=yes", "-W", "nothing:8888", "127.0.0.1")
        assert "Permission denied" in answer.stderr or "has no instance" in answer.stderr, answer.stderr
        return "has no instance" in answer.stderr


def without(cluster: ClusterIn, person: str, *projects: str) -> ClusterIn:
    """Return the cluster in which a person is no member of these projects."""
    return msgspec.structs.replace(
        cluster,
        projects=tuple(
            msgspec.structs.replace(one, members=tuple(m for m in one.members if m.person != person))
            if one.name in projects
            else one
            for one in cluster.projects
        ),
    )


def gone(cluster: ClusterIn) -> ClusterIn:
    people = tuple(one for one in cluster.people if one.name != "ada")
    return msgspec.structs.replace(without(cluster, "ada", "brain", "heart"), people=people)


def with_key(cluster: ClusterIn, *lines: str) -> ClusterIn:
    people = tuple(msgspec.structs.replace(one, keys=lines) if one.name == "ada" else one for one in cluster.people)
    return msgspec.structs.replace(cluster, people=people)


def as_auditor(cluster: ClusterIn) -> ClusterIn:
    projects = tuple(
        msgspec.structs.replace(
            one,
            members=tuple(
                msgspec.structs.replace(m, role=Role.AUDITOR) if m.person == "ada" else m for m in one.members
            ),
        )
        for one in cluster.projects
    )
    return msgspec.structs.replace(cluster, projects=projects)


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = str(tmp_path_factory.mktemp("j") / "jupyter.sock")
    server = _UnixServer(path, _Jupyter)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield path
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture
def house(tmp_path: Path, jupyter: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    laptop, new_laptop = (laptop_with(tmp_path, kind) for kind in ("ed25519", "ecdsa-256"))
    cluster = with_key(team_cluster(), laptop.public_key)
    heart = (MemberIn(person="ada", role=Role.RESEARCHER),)
    projects = tuple(
        msgspec.structs.replace(one, members=(*one.members, *heart)) if one.name == "heart" else one
        for one in cluster.projects
    )
    monkeypatch.setattr(FakeMachines, "address", lambda *_: f"unix:{jupyter}")
    platform = FakePlatform(cluster=msgspec.structs.replace(cluster, projects=projects))
    with open_server(platform) as server:
        gateway_token = platform.token("gateway")

        def give_token(folder: Path) -> None:
            (folder / "gateway.token").write_text(gateway_token, encoding="ascii")

        gateway = GatewayProcess(tmp_path, server.url, spoil=give_token, silence_seconds=4).wait_until_ready()
        made = House(platform, server, gateway, laptop, new_laptop)
        token = made.login(laptop).json()["token"]
        for project in ("brain", "heart"):
            answer = httpx.post(
                f"{server.url}/v1/projects/{project}/instances",
                json={"name": "scan"},
                headers={"Authorization": f"Bearer {token}"},
                trust_env=False,
            )
            assert answer.status_code == 202, answer.text
        run_apart(platform.settle())
        yield made
        assert gateway.stop() == 0
    assert not [line for line in gateway.raw_log if "raceback" in line]


@contextmanager
def held(tunnel: Tunnel) -> Iterator[socket.socket]:
    """Hold a connection through the tunnel that Jupyter has answered on once."""
    with tunnel.connect() as connection:
        ask(connection)
        yield connection


def ask(connection: socket.socket) -> None:
    connection.sendall(b"GET /api HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = b""
    while b"}" not in answer:  # the body's end; it may come in pieces
        piece = connection.recv(4096)
        assert piece, answer
        answer += piece
    assert b"200 OK" in answer


def ends_within(connection: socket.socket, seconds: float) -> bool:
    """Return whether the other side ends the connection in this time; nothing else may come from it."""
    connection.settimeout(seconds)
    try:
        return connection.recv(4096) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def test_a_revoked_person_is_out_at_once_and_their_tunnels_close(house: House) -> None:
    token = house.login(house.laptop).json()["token"]
    assert house.get("/v1/me", token) == 200
    with house.laptop.tunnel(house.gateway, "scan.brain:8888") as tunnel, held(tunnel) as connection:
        house.apply(gone)
        assert house.get("/v1/me", token) == 401
        assert ends_within(connection, LEASE_SECONDS / 2)
        assert tunnel.get("/api") == b""  # ssh still runs, and opens nothing
    assert house.login(house.laptop).json()["code"] == "invalid_signature"
    assert not house.is_let_in(house.laptop)
    tags = [event.tag for event in house.platform.audit.events(instance(house, "brain"))]
    assert AuditTag.CHANNEL_REVOKED.value in tags


def instance(house: House, project: str) -> str:
    found = house.platform.lifecycle.find_named(project, "scan")
    assert found is not None
    return found.instance.id


def test_who_leaves_a_project_loses_its_tunnels_and_no_others(house: House) -> None:
    token = house.login(house.laptop).json()["token"]
    with (
        house.laptop.tunnel(house.gateway, "scan.brain:8888") as brain,
        house.laptop.tunnel(house.gateway, "scan.heart:8888") as heart,
        held(brain) as lost,
        held(heart) as kept,
    ):
        house.apply(lambda cluster: without(cluster, "ada", "brain"))
        assert ends_within(lost, LEASE_SECONDS / 2)
        ask(kept)
        assert heart.get("/api")
        assert brain.get("/api") == b""
    assert house.get("/v1/projects/brain/instances", token) == 403
    assert house.get("/v1/projects/heart/instances", token) == 200


def test_a_role_that_opens_nothing_closes_what_was_open(house: House) -> None:
    token = house.login(house.laptop).json()["token"]
    with house.laptop.tunnel(house.gateway, "scan.brain:8888") as tunnel, held(tunnel) as connection:
        house.apply(as_auditor)
        assert ends_within(connection, LEASE_SECONDS / 2)
    assert house.get("/v1/projects/brain/instances", token) == 200


def test_a_key_that_was_exchanged_opens_nothing_and_what_it_opened_ends(house: House) -> None:
    token = house.login(house.laptop).json()["token"]
    assert not house.is_let_in(house.new_laptop)
    with house.laptop.tunnel(house.gateway, "scan.brain:8888") as tunnel, held(tunnel) as connection:
        house.apply(lambda cluster: with_key(cluster, house.new_laptop.public_key))
        assert house.get("/v1/me", token) == 401
        assert ends_within(connection, LEASE_SECONDS / 2)
    assert house.login(house.laptop).json()["code"] == "invalid_signature"
    assert not house.is_let_in(house.laptop)
    assert house.is_let_in(house.new_laptop)
    new = house.login(house.new_laptop).json()["token"]
    assert house.get("/v1/me", new) == 200
    with house.new_laptop.tunnel(house.gateway, "scan.brain:8888") as tunnel:
        assert tunnel.get("/api")


def test_a_key_that_is_added_ends_nothing(house: House) -> None:
    token = house.login(house.laptop).json()["token"]
    with house.laptop.tunnel(house.gateway, "scan.brain:8888") as tunnel, held(tunnel) as connection:
        house.apply(lambda cluster: with_key(cluster, house.laptop.public_key, house.new_laptop.public_key))
        renewed = len(house.gateway.log.entries)
        assert not ends_within(connection, 1)  # several leases
        connection.settimeout(10)
        ask(connection)
        assert len(house.gateway.log.entries) == renewed
    assert house.get("/v1/me", token) == 200


def test_a_token_of_the_gateway_that_was_taken_away_closes_every_tunnel(house: House) -> None:
    with house.laptop.tunnel(house.gateway, "scan.brain:8888") as tunnel, held(tunnel) as connection:
        item = house.platform.store.get(records.session_key(house.platform.token("gateway")))
        assert item is not None
        house.platform.store.delete(item.key, item.version)
        assert ends_within(connection, LEASE_SECONDS / 2)  # after the silence that the gateway endures


def test_in_production_a_revoked_tunnel_closes_within_the_time_allowed() -> None:
    config = GatewayConfig(
        api_url="http://x", token_file="", listen_host="", listen_port=0, host_key_file="", ready_file=""
    )
    renewed_within = config.renew_seconds + config.api_timeout_seconds
    assert renewed_within < LEASE_SECONDS <= ALLOWED_SECONDS
    assert config.silence_seconds <= ALLOWED_SECONDS
