"""Who may run Terraform for an instance: one run at a time, and nobody for a command of the past.

    STATE_BUCKET/instances/<instance_id>/claim.json            whose turn it is; conditional writes decide
                                         terraform.tfstate     Terraform's state
                                         terraform.tfstate.tflock  Terraform's own lock, while it runs

S3 has no lock that ends with its process, so a run that was killed leaves both behind. A claim names the CodeBuild
build that holds it, and CodeBuild is asked:

    free                                taken
    held, CodeBuild says it has ended   taken over; the state's lock is released, if it is of a run that had the claim
    held, it runs, by the same build    delivered twice: left alone, without a result
    held, it runs, by another build     waited for, then `state_locked`
    held, CodeBuild does not say        the same: a lock is broken on proof only
    of a later generation               refused: a command of the past must never make or end a machine

A state lock that no run under a claim can have left (a person's, at a terminal) is never broken.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from nightingale.contract.build import BuildSpec
from nightingale.contract.vocabulary import ReasonCode
from nightingale_build.bucket import Bucket, Kept
from nightingale_build.failure import BuildFailedError
from nightingale_build.surroundings import LeftAloneError
from nightingale_build.wall_time import now

WAIT_S = 60.0
"""So long another build of the instance is waited for."""

LOOK_EVERY_S = 5.0
LONGEST_BUILD = timedelta(hours=36)
"""CodeBuild lets no build last longer: a holder that it does not know any more is gone after that."""

_REMEMBERED = 10


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """`claim.json`. It stays when the instance is gone: it keeps a late build from making a machine."""

    build_id: str
    run_id: str
    """CodeBuild's id of the run."""
    generation: int
    is_held: bool
    since: datetime
    succeeded_generation: int | None = None
    """The generation of the last build that succeeded."""
    hosts: tuple[str, ...] = ()
    """Hosts of the runs since the state was last seen without a lock: their locks may be released once they ended."""


class Runs(Protocol):
    """What knows whether a run still runs."""

    def has_ended(self, run_id: str) -> bool | None:
        """Return whether the run has ended, None where nobody can say."""


@dataclass(frozen=True)
class StateLock:
    """Terraform's lock on a state, as it describes itself."""

    id: str
    who: str
    created: str

    @property
    def host(self) -> str:
        """Return the host of the Terraform that took it."""
        return self.who.rpartition("@")[2]


class InstanceClaim:
    """The claim on one instance, for one run of one build."""

    def __init__(
        self,
        bucket: Bucket,
        runs: Runs,
        spec: BuildSpec,
        *,
        run_id: str,
        host: str,
        wait_s: float = WAIT_S,
        look_every_s: float = LOOK_EVERY_S,
        clock: Callable[[], datetime] = now,
    ) -> None:
        """Take the state bucket, what is asked about other runs, the build, and who this run is."""
        self._bucket = bucket
        self._runs = runs
        self._spec = spec
        self._run_id = run_id
        self._host = host
        self._wait_s = wait_s
        self._look_every_s = look_every_s
        self._clock = clock
        self._pause = threading.Event()
        self.state_key = f"instances/{spec.instance_id}/terraform.tfstate"
        self._key = f"instances/{spec.instance_id}/claim.json"
        self._claim: Claim | None = None

    @property
    def succeeded_generation(self) -> int | None:
        """Return the generation of the last build that succeeded, None when none has."""
        return self._claim.succeeded_generation if self._claim is not None else None

    def take(self) -> None:
        """Take the claim, once it is free. Raises LeftAloneError, BuildFailedError."""
        give_up = time.monotonic() + self._wait_s
        was_overtaken = False
        while True:
            kept = self._bucket.get(self._key)
            there = msgspec.json.decode(kept.content, type=Claim) if kept is not None else None
            if there is not None and there.is_held and there.run_id == self._run_id:
                self._claim = there  # written here, and the reply was lost
                return
            if there is not None:
                self._require_present(there)
            holder = there if there is not None and there.is_held and not self._is_over(there) else None
            if holder is None and self._write(self._claimed(there), kept):
                return
            if holder is not None and holder.build_id == self._spec.build_id:
                raise LeftAloneError(f"build {holder.build_id} runs already, as {holder.run_id}")
            # Who was overtaken looks once more whatever the time: it may have been by its own claim, its reply lost.
            if time.monotonic() >= give_up and (was_overtaken or holder is not None):
                raise _held(holder) if holder is not None else _never_written()
            was_overtaken = holder is None
            self._pause.wait(self._look_every_s)

    def release(self, *, has_succeeded: bool) -> None:
        """Let the next build have the instance. Raises BuildFailedError."""
        claim = self._claim
        if claim is None:
            return
        self._claim = None
        freed = msgspec.structs.replace(
            claim,
            is_held=False,
            hosts=claim.hosts if self._is_locked() else (),
            succeeded_generation=self._spec.generation if has_succeeded else claim.succeeded_generation,
        )
        kept = self._bucket.get(self._key)
        if kept is not None and msgspec.json.decode(kept.content, type=Claim).run_id == self._run_id:
            self._bucket.put(self._key, msgspec.json.encode(freed), over=kept)

    def state_lock(self) -> StateLock | None:
        """Return the lock on the instance's state, None when it is free. Raises BuildFailedError."""
        kept = self._bucket.get(f"{self.state_key}.tflock")
        if kept is None:
            return None
        try:
            said = json.loads(kept.content)
            return StateLock(str(said["ID"]), str(said["Who"]), str(said["Created"]))
        except (ValueError, KeyError, TypeError) as error:
            raise BuildFailedError(
                ReasonCode.STATE_LOCKED,
                f"This instance's state is locked, and by whom cannot be read: {self.state_key}.tflock.",
                "Your administrator looks at that object in the state bucket and removes it when nobody works there.",
            ) from error

    def left_behind(self) -> StateLock | None:
        """Return the lock that a dead run left behind, None when the state is free.

        Raises BuildFailedError `state_locked` when it is of somebody who never had the claim. To be asked while the
        claim is held: every run that had it before has ended.
        """
        lock = self.state_lock()
        if lock is None or (self._claim is not None and lock.host in self._claim.hosts):
            return lock
        raise BuildFailedError(
            ReasonCode.STATE_LOCKED,
            f"Somebody other than the platform holds this instance's state: {lock.who}, since {lock.created}.",
            "Retry when they are done. If nobody is, your administrator removes the lock: terraform force-unlock"
            f" {lock.id}, with the state {self.state_key}.",
        )

    def _is_locked(self) -> bool:
        try:
            return self.state_lock() is not None
        except BuildFailedError:
            return True  # it is there and cannot be read, or nobody knows

    def _is_over(self, there: Claim) -> bool:
        ended = self._runs.has_ended(there.run_id)
        return ended or (ended is None and self._clock() - there.since > LONGEST_BUILD)

    def _require_present(self, there: Claim) -> None:
        if there.generation > self._spec.generation:
            raise BuildFailedError(
                ReasonCode.BUILD_NOT_STARTED,
                f"This build came too late: build {there.build_id} of a later command has had the instance since"
                f" {there.since:%Y-%m-%d %H:%M:%S} UTC.",
                "Nothing is to be done: the later command counts.",
            )

    def _claimed(self, there: Claim | None) -> Claim:
        before = there.hosts if there is not None else ()
        return Claim(
            build_id=self._spec.build_id,
            run_id=self._run_id,
            generation=self._spec.generation,
            is_held=True,
            since=self._clock(),
            succeeded_generation=there.succeeded_generation if there is not None else None,
            hosts=(*(host for host in before if host != self._host), self._host)[-_REMEMBERED:],
        )

    def _write(self, claim: Claim, over: Kept | None) -> bool:
        if not self._bucket.put(self._key, msgspec.json.encode(claim), over=over):
            return False
        self._claim = claim
        return True


def _never_written() -> BuildFailedError:
    return BuildFailedError(
        ReasonCode.STATE_LOCKED,
        "This instance could not be claimed: the state bucket takes no claim, and nobody holds one there.",
        "Retry; if it stays so, your administrator looks at the state bucket.",
    )


def _held(there: Claim) -> BuildFailedError:
    return BuildFailedError(
        ReasonCode.STATE_LOCKED,
        f"Build {there.build_id} works on this instance since {there.since:%Y-%m-%d %H:%M:%S} UTC, and CodeBuild does"
        f" not say that it has ended ({there.run_id}).",
        "Retry once it has ended; your administrator can stop it in CodeBuild.",
    )
