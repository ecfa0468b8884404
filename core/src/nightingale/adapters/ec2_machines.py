"""Machines of the place `aws`: what EC2 says of them, and what they told of their starts.

    the start's exit record            EXITED   (the machine told it before it went)
    EC2: no longer up, or not there    GONE     with EC2's reason; `interrupted` where spot capacity was taken back
    the launcher's record, EC2: up     UP
    otherwise                          ABSENT   (Terraform makes it, or it boots)

Whether Jupyter answers is the prober's to see. EC2 is asked only where that is in doubt, and for many at once.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from nightingale.adapters.aws_clients import Credentials, LazyClient, code_of, is_aws_error, words_of
from nightingale.adapters.ec2_quarantine import Ec2Quarantine
from nightingale.adapters.ec2_seen import UP, Ec2Machine, Ec2Seen
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

_GONE = frozenset({"InvalidInstanceID.NotFound", "IncorrectInstanceState"})
_NOT_OF_SPOT = "UnsupportedOperation"
"""What EC2 says where a machine cannot be stopped, or protected, because it is a spot one."""


class Ec2Machines:
    """The Machines port for the place `aws`. Threads may share it."""

    def __init__(
        self,
        starts: Starts,
        logs: ServerLogs,
        *,
        vpc_id: str,
        quarantine_group: str | None = None,
        region: str | None = None,
        endpoint: str | None = None,
        client: Any = None,
        credentials: Credentials | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take where starts and logs are kept, the machines' network, the group for quarantine, what boto3 is told."""
        self._starts = starts
        self._logs = logs
        self._client = LazyClient("ec2", region=region, endpoint=endpoint, client=client, credentials=credentials)
        self._ec2 = Ec2Seen(self._client, vpc_id, monotonic)
        self._quarantine = Ec2Quarantine(self._client, vpc_id, quarantine_group)
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
        machines = self._ec2.of(instance_id)
        # Before its start the tag tells: of a retry the machine before it is still listed, as terminated.
        machine = next((one for one in machines if _is_meant(one, start, generation)), None)
        if machine is None and start is None:
            return MachineSeen(MachineState.ABSENT)
        if machine is None or machine.state not in UP or (start is not None and start.exit is not None):
            return self._gone(machine, start)
        return MachineSeen(MachineState.UP if launcher is not None else MachineState.ABSENT, launcher)

    @staticmethod
    def _gone(machine: Ec2Machine | None, start: MachineStart | None) -> MachineSeen:
        launcher = start.launcher if start is not None else None
        if start is not None and start.interrupted_at is not None:
            return MachineSeen(MachineState.GONE, launcher, code=ReasonCode.INTERRUPTED)
        if machine is None:
            words = "EC2 knows nothing of the machine any more"
            return MachineSeen(MachineState.GONE, launcher, code=ReasonCode.MACHINE_GONE, words=words)
        return MachineSeen(MachineState.GONE, launcher, code=machine.code, words=machine.words)

    def find_all(self) -> Mapping[str, int]:
        """Return generation by instance id for every machine of this network that is up, as its tags say."""
        return {name: one.generation for name, one in self._ec2.up().items() if INSTANCE_ID.fullmatch(name)}

    def end_orphan(self, instance_id: str, *, is_for_good: bool) -> None:
        """Stop a machine that should not run, or end it for good; its home is a disk of its own and stays.

        Raises MachineUnavailableError.
        """
        machine = self._ec2.up().get(instance_id)
        if machine is None:
            return
        try:
            if is_for_good:
                self._terminate(machine.id)
            else:
                self._stop(machine.id)
        except Exception as error:
            if not is_aws_error(error):
                raise
            if code_of(error) not in _GONE:
                raise MachineUnavailableError(words_of(error, f"machine {machine.id} could not be ended")) from error

    def _stop(self, machine_id: str) -> None:
        try:
            self._client().stop_instances(InstanceIds=[machine_id])
        except Exception as error:
            if code_of(error) != _NOT_OF_SPOT:
                raise
            self._terminate(machine_id)  # a spot machine has no other end

    def _terminate(self, machine_id: str) -> None:
        # Machines are protected from an accident in the console; this is none.
        try:
            self._client().modify_instance_attribute(InstanceId=machine_id, DisableApiTermination={"Value": False})
        except Exception as error:
            if code_of(error) != _NOT_OF_SPOT:
                raise
            # A spot machine is never protected, and EC2 refuses to speak of it.
        self._client().terminate_instances(InstanceIds=[machine_id])

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

    def quarantine(self, instance_id: str) -> None:
        """Let nothing through to or from the machine; what runs in it runs on. Raises MachineUnavailableError.

        AWS keeps connections that stand already for a while; those of people end with the gateway's lease.
        """
        if INSTANCE_ID.fullmatch(instance_id):
            self._quarantine.put_in(instance_id)

    def release(self, instance_id: str) -> None:
        """Give the machine its own security group again. Raises MachineUnavailableError."""
        if INSTANCE_ID.fullmatch(instance_id):
            self._quarantine.let_out(instance_id)

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


def _is_meant(machine: Ec2Machine, start: MachineStart | None, generation: int) -> bool:
    return machine.generation == generation if start is None else machine.id == start.machine_id
