"""One life of an instance through every action, asked for by a person who repeats what got no answer."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from doubles.platforms import URL, FakePlatform
from faults_dynamodb.faulty_store import Fault, FaultyStore
from nightingale.app.dispatch import Request, Response
from nightingale.contract.schemas import LOGIN_NAMESPACE, login_message
from nightingale.contract.vocabulary import Status
from nightingale.domain.instance import Instance
from nightingale.ports.audit_log import AuditLogUnavailableError
from nightingale.ports.machines import MachineUnavailableError
from nightingale.ports.prober import ProbeOutcome
from nightingale.ports.store import StoreUnavailableError
from nightingale.services import records
from nightingale.services.metering import MeteringService
from nightingale.services.watch import Watch

NAME, WHO, REQUEST_ID = "scan", "grace", "the-same-each-time"
_TRIES = 40
_PASSING = (StoreUnavailableError, AuditLogUnavailableError, MachineUnavailableError)
"""What the hosts' loops take as passing, too: the beat is tried again."""

DONE_BEFORE = {
    "stop_instance": {"busy", "not_allowed_now"},
    "start_instance": {"busy", "not_allowed_now"},
    "retry_instance": {"busy", "not_allowed_now"},
    "resize_instance": {"busy", "invalid"},
    "delete_instance": {"busy", "not_found"},
}
"""How a command is refused that was done already, when its first answer got lost."""


@dataclass
class World:
    """A platform on a faulty store, and what the person knows of it."""

    store: FaultyStore
    platform: FakePlatform = field(init=False)
    watch: Watch = field(init=False)
    commands: list[tuple[str, bool]] = field(default_factory=list)
    """What the person asked for in order, and whether an answer to it got lost before one came."""
    answers: Counter[int] = field(default_factory=Counter)
    metering: MeteringService = field(init=False)
    token: str = ""
    fails_next: bool = False
    """Whether the build that ends next ends badly."""
    gateway_token: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        logging.getLogger("nightingale").setLevel(logging.CRITICAL)  # each fault is an error in the log, as it should
        self.platform = FakePlatform(store=self.store)
        self.watch = self._new_watch()
        self.metering = self.platform.made.metering
        self.store.others = self._others
        self.gateway_token = self.platform.token("gateway")

    def _new_watch(self) -> Watch:
        """Return a watcher of the shard of the one instance there is, as leases give it shards."""
        return replace(self.platform.another_watch(), shards=self._shards())

    def _shards(self) -> tuple[int, ...]:
        with self.store.quietly():
            return tuple(sorted({records.shard_of(instance.id) for instance in self.all()}))

    # --- what goes on by itself -----------------------------------------------------------------------------------

    def _others(self) -> None:
        """Let three seconds pass in which a second watcher and a second run of each job do their work."""
        asyncio.run(self._work(self._new_watch()))

    async def _work(self, watch: Watch) -> None:
        self.platform.clock.advance(3)
        self._end_builds()
        watch.refresh()
        for _ in range(2):
            await watch.beat_in_flight()
        await watch.beat_running()
        self.platform.made.reconcile().end_orphans()
        self.platform.made.metering.run_once()

    def _end_builds(self) -> None:
        for spec in self.platform.builder.running:
            if self.fails_next:
                self.fails_next = False
                self.platform.builder.fail(spec.build_id)
            else:
                self.platform.builder.finish(spec.build_id)

    async def beat(self) -> None:
        """Let a second pass, with every beat once; one that fails is tried again the next second."""
        self.platform.clock.advance(1)
        self._end_builds()
        await self._guarded(self._refresh)
        await self._guarded(self.watch.beat_in_flight)
        await self._guarded(self.watch.beat_running)

    async def _refresh(self) -> None:
        if self.watch.shards != self._shards():  # the instance is there now
            self.watch = self._new_watch()
        self.watch.refresh()

    async def _guarded(self, beat: Callable[[], Awaitable[None]]) -> None:
        try:
            await beat()
        except _PASSING:
            return

    async def jobs(self) -> None:
        """Run the slow jobs once."""
        for job in (self.watch.save_last_good, self.platform.made.reconcile().end_orphans, self.metering.run_once):
            try:
                job()
            except _PASSING:
                continue

    async def restart(self) -> None:
        """Put a new watcher in the place of the old one, as after a crash of the host."""
        self.watch = self._new_watch()
        for step in (self.watch.load_last_good, self.watch.refresh):
            for _ in range(_TRIES):
                try:
                    step()
                except _PASSING:
                    continue
                break

    async def pass_hours(self, minutes: int) -> None:
        """Let time pass with nothing but a beat and the jobs at its end."""
        self.platform.clock.advance(minutes * 60)
        await self.beat()
        await self.jobs()

    # --- the person -----------------------------------------------------------------------------------------------

    def ask(
        self,
        operation: str,
        body: Mapping[str, Any] | None = None,
        *,
        name: str | None = NAME,
        token: str = "",
        **path: str,
    ) -> Response:
        """Send one request; whatever goes wrong with the store is answered in words, never as an error of ours."""
        named = {"project": "brain", **({"instance": name} if name else {}), **path}
        request = Request(
            path=named, body=msgspec.json.encode(body or {}), authorization=f"Bearer {token or self.token}"
        )
        answer = self.platform.dispatcher.handle(operation, request)
        self.answers[answer.status] += 1
        assert answer.status != 500, (operation, answer.body)
        if answer.status == 503:
            assert self.platform.error(answer)["next_step"]
        return answer

    async def read(self, operation: str, **more: Any) -> Any:
        """Return the JSON of an answer, asked for until it comes."""
        for _ in range(_TRIES):
            answer = self.ask(operation, **more)
            if answer.status < 400:
                return msgspec.json.decode(answer.body)
            assert answer.status == 503, (operation, answer.body)
        raise AssertionError(f"{operation} never came through")

    async def command(self, operation: str, body: Mapping[str, Any] | None = None) -> None:
        """Ask for a change until it is clear that it was taken on: once, whatever was lost on the way."""
        was_lost = False
        for _ in range(_TRIES):
            answer = self.ask(operation, body, name=None if operation == "launch_instance" else NAME)
            if answer.status < 400:
                self.commands.append((operation, was_lost))
                return
            code = self.platform.error(answer)["code"]
            if answer.status == 503:
                was_lost = True
                await self.beat()
                continue
            assert was_lost, (operation, answer.body)
            assert code in DONE_BEFORE.get(operation, set()), (operation, answer.body)
            self.commands.append((operation, True))
            return
        raise AssertionError(f"{operation} was never taken on")

    async def log_in(self) -> None:
        """Log in as people do; a login that fails is begun anew with a new nonce."""
        signatures = self.platform.signatures
        for _ in range(_TRIES):
            challenge = self.ask("create_challenge", name=None)
            if challenge.status == 503:
                continue
            nonce = msgspec.json.decode(challenge.body)["nonce"]
            signature = signatures.sign(signatures.key(WHO), login_message(URL, nonce), LOGIN_NAMESPACE)
            answer = self.ask("create_session", {"nonce": nonce, "server": URL, "signature": signature}, name=None)
            if answer.status == 201:
                self.token = msgspec.json.decode(answer.body)["token"]
                return
            assert answer.status == 503, answer.body
        raise AssertionError("never logged in")

    def now(self) -> Instance:
        """Return the newest instance as the store has it, without counting."""
        with self.store.quietly():
            found = [instance for instance in self.all() if instance.name == NAME]
        return max(found, key=lambda one: one.id)

    def all(self) -> list[Instance]:
        """Return every instance of the project, ended ones too."""
        found: list[Instance] = []
        for prefix in (records.LIVE, records.ENDED):
            page = self.store.inner.query(records.project_partition("brain"), prefix=prefix)
            found += [records.decode(item, Instance) for item in page.items]
        return found

    async def tunnel(self) -> None:
        """Open a channel through the gateway, renew and close it, as the gateway does: each asked for until it is."""
        gateway, key = self.gateway_token, self.platform.signatures.fingerprint_of(self.platform.signatures.key(WHO))
        who = {"person": WHO, "fingerprint": key, "target": NAME, "port": 8888, "client": "192.0.2.7"}
        opened = await self.read("open_channel", body=who, name=None, token=gateway)
        channel, counts = opened["channel_id"], {"sent": 1, "received": 2}
        await self.read("renew_channel", body=counts, name=None, token=gateway, channel=channel)
        await self.read(
            "close_channel", body={**counts, "seconds": 3, "why": "ended"}, name=None, token=gateway, channel=channel
        )

    async def crash(self) -> None:
        """Let the Jupyter server die, and beat until that is known."""
        instance = self.now()
        self.platform.machines.crash(instance.id, instance.generation)
        self.platform.prober.default = ProbeOutcome.REFUSED
        for _ in range(_TRIES):
            if self.now().status is Status.FAILED:
                self.platform.prober.default = ProbeOutcome.OK
                return
            await self.beat()
        raise AssertionError("the crash was never seen")

    async def until(self, *statuses: Status) -> None:
        """Beat until the instance stands there; one that failed on the way is retried by its person."""
        for _ in range(_TRIES):
            status = self.now().status
            if status in statuses:
                return
            if status is Status.FAILED:
                await self.command("retry_instance")
            await self.beat()
        raise AssertionError(f"{self.now().status} instead of {statuses}: {self.now().reason}")


async def play(world: World) -> None:
    """Launch, tunnel, resize, extend, crash and retry, a stop that fails, resize stopped, start, delete."""
    await world.log_in()
    await world.command("launch_instance", {"name": NAME, "request_id": REQUEST_ID})
    await world.until(Status.RUNNING)
    await world.pass_hours(35)
    await world.read("list_instances", name=None)
    await world.tunnel()
    await world.command("resize_instance", {"cpu": "m"})
    await world.until(Status.RUNNING)
    await world.pass_hours(31)
    await world.command("extend_instance", {"seconds": 9000})
    await world.crash()
    await world.command("retry_instance")
    await world.until(Status.RUNNING)
    await world.restart()
    world.fails_next = True
    await world.command("stop_instance")
    await world.until(Status.STOPPED)
    await world.pass_hours(20)
    await world.command("resize_instance", {"disk": "m"})
    await world.until(Status.STOPPED)
    await world.command("start_instance")
    await world.until(Status.RUNNING)
    await world.pass_hours(28)
    await world.command("delete_instance")
    await world.until(Status.TERMINATED)
    await world.jobs()
    await world.read("get_usage", name=None)
    await world.read("list_usage_records", name=None)


async def play_through(world: World, plan: Mapping[int, Fault]) -> None:
    """Play the journey with these faults, and then let the platform come to rest without any."""
    with world.store.counting(plan):
        await play(world)
    for _ in range(3):
        await world.beat()
    await world.jobs()
