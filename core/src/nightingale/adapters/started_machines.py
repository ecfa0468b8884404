"""Machines of a cloud, known by what they told of their starts and by what the cloud says of them.

    the start's exit record                  EXITED   (the machine told it before it went)
    the cloud: no longer up, or not there    GONE     with the cloud's reason; `interrupted` where it took capacity back
    the launcher's record, the cloud: up     UP
    otherwise                                ABSENT   (Terraform makes it, or it boots)

Whether Jupyter answers is the prober's to see. The cloud is asked only where that is in doubt. What is the same for
every cloud stands here; an adapter of one adds how it is asked, and how it ends machines and cuts them off.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from nightingale.contract.images import ImageCheck
from nightingale.contract.machines import Door
from nightingale.contract.vocabulary import ReasonCode
from nightingale.domain.machine import MachineStart
from nightingale.ports.machines import HomeSeen, MachineSeen, MachineState, MachineUnavailableError, SandboxSeen
from nightingale.ports.server_logs import ServerLogs
from nightingale.ports.starts import Starts

INSTANCE_ID = re.compile(r"i-[a-z0-9]{10}")
CODE_HASH = re.compile(r"[0-9a-f]{64}")

START_KEPT_S = 10.0
"""A start is read again after so long where only its address and keys are wanted: probes ask each second."""

LOOK_EVERY_S = 0.5
"""And after so long where its end is."""


class CloudMachine(Protocol):
    """One machine as its cloud describes it."""

    @property
    def generation(self) -> int:
        """Return the generation that it is tagged with, 0 where it is not."""

    @property
    def is_up(self) -> bool:
        """Return whether it runs, or is about to."""

    @property
    def code(self) -> ReasonCode:
        """Return why it is no longer up."""

    @property
    def words(self) -> str:
        """Return the same in words; empty where the code says it all."""

    def is_one(self, machine_id: str) -> bool:
        """Return whether this is the machine's id, as it proves itself by it."""


class CloudSeen(Protocol):
    """What a cloud says of machines, asked as seldom as will do. Threads may share it."""

    cloud: str
    """Its name in words: `EC2`."""

    def of(self, instance_id: str) -> Sequence[CloudMachine]:
        """Return the instance's machines, newest first. Raises MachineUnavailableError."""

    def up(self) -> Mapping[str, CloudMachine]:
        """Return every machine that is up, by the instance it is tagged as. Raises MachineUnavailableError."""


class StartedMachines:
    """What the Machines port of every cloud shares. Threads may share it."""

    def __init__(
        self, starts: Starts, logs: ServerLogs, seen: CloudSeen, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Take where starts and servers' logs are kept, and what the cloud says of machines."""
        self._starts = starts
        self._logs = logs
        self._seen = seen
        self._monotonic = monotonic
        self._memory = threading.Lock()
        self._doors: dict[str, Door] = {}
        self._kept: dict[str, tuple[float, MachineStart | None]] = {}
        self._pruned_at = monotonic()

    def look(self, instance_id: str, generation: int) -> MachineSeen:
        """Return what is seen of the machine for this generation. Raises MachineUnavailableError."""
        if not INSTANCE_ID.fullmatch(instance_id):
            return MachineSeen(MachineState.ABSENT)
        start = self._start(instance_id, LOOK_EVERY_S)
        if start is not None and start.generation != generation:
            start = None
        launcher = start.launcher if start is not None else None
        if start is not None and start.exit is not None and start.interrupted_at is None:
            return MachineSeen(MachineState.EXITED, launcher, start.exit)
        machines = self._seen.of(instance_id)
        # Before its start the tag tells: of a retry the machine before it is still listed, as terminated.
        machine = next((one for one in machines if _is_meant(one, start, generation)), None)
        if machine is None and start is None:
            return MachineSeen(MachineState.ABSENT)
        if machine is None or not machine.is_up or (start is not None and start.exit is not None):
            return self._gone(machine, start)
        return MachineSeen(MachineState.UP if launcher is not None else MachineState.ABSENT, launcher)

    def _gone(self, machine: CloudMachine | None, start: MachineStart | None) -> MachineSeen:
        launcher = start.launcher if start is not None else None
        if start is not None and start.interrupted_at is not None:
            return MachineSeen(MachineState.GONE, launcher, code=ReasonCode.INTERRUPTED)
        if machine is None:
            words = f"{self._seen.cloud} knows nothing of the machine any more"
            return MachineSeen(MachineState.GONE, launcher, code=ReasonCode.MACHINE_GONE, words=words)
        return MachineSeen(MachineState.GONE, launcher, code=machine.code, words=machine.words)

    def find_all(self) -> Mapping[str, int]:
        """Return generation by instance id for every machine of this network that is up, as its tags say."""
        return {name: one.generation for name, one in self._seen.up().items() if INSTANCE_ID.fullmatch(name)}

    def sandbox(self) -> SandboxSeen:
        """Say which sandbox new instances get: the image's, and a machine on which it does not work starts nothing."""
        return SandboxSeen("bubblewrap", "", is_trusted=True)

    def address(self, instance_id: str) -> str:
        """Return where the machine's door is: `tcp:host:port`. Raises MachineUnavailableError."""
        start = self._known(instance_id)
        with self._memory:
            self._doors[start.address] = _door(start)
        return start.address

    def door_at(self, address: str) -> Door | None:
        """Return what both sides show at an address that was given out by `address`."""
        with self._memory:
            return self._doors.get(address)

    def door(self, instance_id: str) -> Door | None:
        """Return the key pair that both sides of the machine's door show. Raises MachineUnavailableError."""
        return _door(self._known(instance_id))

    def token(self, instance_id: str) -> str:
        """Return the Jupyter server's own token. Raises MachineUnavailableError. Never log it."""
        return self._known(instance_id).jupyter_token

    def own_token_hash(self, instance_id: str, *, is_shipper: bool) -> str:
        """Return the SHA-256 (hex) of the token that the instance, or what ships its reads, proves itself with.

        Raises MachineUnavailableError.
        """
        # A token of the start before must be worth nothing at once, so nothing kept is looked at.
        start = self._known(instance_id, 0.0)
        return start.shipper_token_hash if is_shipper else start.instance_token_hash

    def admit(self, instance_id: str, code_hash: str, expires_at: datetime) -> None:
        """Let the browser that brings the code with this SHA-256 (hex) in, once. Raises MachineUnavailableError."""
        if not CODE_HASH.fullmatch(code_hash):
            raise MachineUnavailableError("A code's hash is 64 hexadecimal digits.")
        self._known(instance_id)
        self._starts.admit(instance_id, code_hash, expires_at)

    def home(self, instance_id: str) -> HomeSeen | None:
        """Return how full the home is, as its machine last said; None before it has."""
        start = self._start(instance_id, START_KEPT_S) if INSTANCE_ID.fullmatch(instance_id) else None
        if start is None or start.home is None:
            return None
        return HomeSeen(start.home.used_bytes, start.home.limit_bytes, start.home.is_full)

    def image_check(self, instance_id: str) -> ImageCheck | None:
        """Return None: the image is one that nobody can write to."""
        del instance_id
        return None

    def read_log(self, instance_id: str, offset: int, limit: int) -> tuple[tuple[str, ...], int]:
        """Return lines of the log's end as its machine sent it; whoever reads it lets the machine send more often.

        Of a start whose machine sent none (an older image): the last lines that it left, each counted as one byte.
        Raises MachineUnavailableError, StoreUnavailableError.
        """
        start = self._known(instance_id, 0.0)
        kept = self._logs.look(instance_id) if start.exit is None else self._logs.find(instance_id)
        if kept is not None and (kept.generation == start.generation or start.exit is None):
            return kept.read(offset, limit)
        lines = start.exit.last_lines[offset : offset + limit] if start.exit is not None else ()
        return lines, offset + len(lines)

    def log_tail_offset(self, instance_id: str, lines: int) -> int:
        """Return where, in `read_log`, the last `lines` lines begin. Raises MachineUnavailableError."""
        start = self._known(instance_id, 0.0)
        kept = self._logs.find(instance_id)
        if kept is not None and (kept.generation == start.generation or start.exit is None):
            return kept.tail_offset(lines)
        return max(0, len(start.exit.last_lines) - lines) if start.exit is not None else 0

    def _known(self, instance_id: str, kept_s: float = START_KEPT_S) -> MachineStart:
        start = self._start(instance_id, kept_s, is_spread=True) if INSTANCE_ID.fullmatch(instance_id) else None
        if start is None:
            raise MachineUnavailableError(f"{instance_id} has not started yet.")
        return start

    def _start(self, instance_id: str, kept_s: float, *, is_spread: bool = False) -> MachineStart | None:
        """Return the latest start, as it was so many seconds ago at the most.

        `is_spread`: some are read after half of that already, so that what was read together, by a watcher that had
        only begun, is not read together for ever.
        """
        now = self._monotonic()
        with self._memory:
            kept = self._kept.get(instance_id)
        if kept is not None and now - kept[0] < kept_s * (_share(instance_id, kept[0]) if is_spread else 1.0):
            return kept[1]
        found = self._starts.find(instance_id)
        with self._memory:
            self._kept[instance_id] = (now, found)
            if now - self._pruned_at >= START_KEPT_S:  # not at each reading: it looks at all of them
                self._pruned_at = now
                for old in [one for one, (at, _) in self._kept.items() if now - at >= START_KEPT_S]:
                    del self._kept[old]
        return found


def _share(instance_id: str, read_at: float) -> float:
    """Return a number from 0.5 up to 1, the same each time for one reading."""
    return 0.5 + (hash((instance_id, read_at)) & 0xFFFF) / 2**17


def _door(start: MachineStart) -> Door:
    return Door(certificate=start.door_certificate, key=start.door_key)


def _is_meant(machine: CloudMachine, start: MachineStart | None, generation: int) -> bool:
    return machine.generation == generation if start is None else machine.is_one(start.machine_id)
