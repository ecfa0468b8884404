"""Becoming the instance: the machine proves who it is until the platform takes it, refuses it, or time is up."""

from __future__ import annotations

import http.client
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import msgspec

from nightingale.contract.machines import (
    AwsProof,
    AzureProof,
    IdentifyMachineIn,
    MachineOut,
    StartIn,
    start_digest,
)
from nightingale.contract.schemas import ChallengeOut
from nightingale.contract.vocabulary import ReasonCode
from nightingale_build.boot.api import Answer, Api, ApiSilentError
from nightingale_build.boot.cloud import Cloud, MetadataError
from nightingale_build.boot.told import Told
from nightingale_build.launcher.refusal import RefusalError

PATIENCE_S = 900.0
"""Terraform may have much to attach after the machine has booted; the platform's own deadline is shorter."""

FIRST_REST_S, LONGEST_REST_S = 1.0, 15.0
MOST_SKEW_S = 60.0
MOST_UNPROVEN = 3
"""A nonce may run out on the way, and a clock may be set meanwhile; more than that is no accident."""

_NEXT = "Retry; if it stays so, your administrator looks at the machine's clock, its role and its way to the platform."
_AGAIN = frozenset(
    {http.client.CONFLICT, http.client.TOO_MANY_REQUESTS, http.client.SERVICE_UNAVAILABLE, http.client.BAD_GATEWAY}
)


@dataclass(frozen=True)
class Prover:
    """Proves this machine to the platform."""

    api: Api
    metadata: Cloud
    now: Callable[[], datetime]
    rest: Callable[[float], object] = time.sleep
    monotonic: Callable[[], float] = time.monotonic

    def become(self, told: Told, start: StartIn) -> MachineOut:
        """Return the start that this machine is to make. Raises RefusalError when the platform will not have it."""
        deadline = self.monotonic() + PATIENCE_S
        wait, unproven = FIRST_REST_S, 0
        while True:
            try:
                answer = self._try(told, start)
                if answer.is_good:
                    return msgspec.json.decode(answer.body, type=MachineOut)
            except (ApiSilentError, MetadataError) as error:
                why = str(error)
            except msgspec.DecodeError as error:
                why = f"{self.api.url} gave an answer that is not this platform's: {error}"
            else:
                refused = answer.error()
                why = f"{refused.message} ({refused.code}){self._skew(answer)}"
                unproven += answer.status == http.client.UNAUTHORIZED
                is_final = answer.status not in {*_AGAIN, http.client.UNAUTHORIZED} or unproven >= MOST_UNPROVEN
                if is_final and answer.status < http.client.INTERNAL_SERVER_ERROR:
                    raise RefusalError(ReasonCode.BOOT_FAILED, f"The platform does not take this machine: {why}", _NEXT)
            say(f"not yet: {why}")
            if self.monotonic() + wait > deadline:
                raise RefusalError(
                    ReasonCode.BOOT_FAILED,
                    f"The machine could not become its instance in {PATIENCE_S:g} s: {why}",
                    _NEXT,
                )
            self.rest(wait)
            wait = min(LONGEST_REST_S, wait * 2)

    def _try(self, told: Told, start: StartIn) -> Answer:
        challenge = self.api.ask("POST", "/v1/login/challenges")
        if not challenge.is_good:
            return challenge
        nonce = msgspec.json.decode(challenge.body, type=ChallengeOut).nonce
        proof = self.metadata.proof(
            region=told.region, at=self.now(), server=self.api.url, nonce=nonce, start=start_digest(start)
        )
        claim = IdentifyMachineIn(
            project=told.project,
            instance_id=told.instance_id,
            server=self.api.url,
            nonce=nonce,
            start=start,
            proof=proof if isinstance(proof, AwsProof) else None,
            azure=proof if isinstance(proof, AzureProof) else None,
        )
        return self.api.ask("POST", "/v1/machines/identities", msgspec.json.encode(claim))

    def _skew(self, answer: Answer) -> str:
        """Return in words how far this machine's clock is off, empty where it is not."""
        if answer.at is None:
            return ""
        off = (self.now() - answer.at).total_seconds()
        if abs(off) < MOST_SKEW_S:
            return ""
        way = "ahead of" if off > 0 else "behind"
        return f"; clock skew: this machine's clock is {abs(off):.0f} s {way} the platform's"


def say(words: str) -> None:
    """Write a line to the machine's journal and console."""
    sys.stderr.write(f"nightingale: {words}\n")
    sys.stderr.flush()
