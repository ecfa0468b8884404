"""Telling the platform how a start goes, in the name of what ships the records of reads: outside the sandbox."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from nightingale.contract.build import ExitRecord, LauncherRecord
from nightingale.contract.machines import HomeReport, ReportMachineIn
from nightingale.contract.own_instance import CheckpointIn
from nightingale_build.boot.api import Api, ApiSilentError
from nightingale_build.boot.identity import say

FIRST_REST_S, LONGEST_REST_S = 0.5, 8.0
TRIES = 8
"""Some forty seconds: a machine that goes down has no more."""


@dataclass(frozen=True)
class Reports:
    """Reports about one start."""

    api: Api
    generation: int
    token: str = field(repr=False)
    rest: Callable[[float], object] = time.sleep
    """Waits so long; what is true means that nobody waits for the report any more."""

    def launcher(self, record: LauncherRecord) -> bool:
        """Tell that the launcher is up; return whether the platform took it."""
        return self._tell(ReportMachineIn(generation=self.generation, launcher=record))

    def exit(self, record: ExitRecord) -> bool:
        """Tell how it ended; return whether the platform took it."""
        return self._tell(ReportMachineIn(generation=self.generation, exit=record))

    def home(self, report: HomeReport) -> bool:
        """Tell how full the home is, once: the next report says it better. Return whether the platform took it."""
        return self._tell(ReportMachineIn(generation=self.generation, home=report), tries=1)

    def interruption(self, at: datetime, own_token: str) -> bool:
        """Tell that the cloud takes the machine away, and mark the work that there is by then."""
        if not self._tell(ReportMachineIn(generation=self.generation, interrupted_at=at)):
            return False  # it is told again, and marked then, once
        note = f"the cloud takes this machine back at {at:%H:%M:%S} UTC"
        self._ask("/v1/instance/checkpoints", msgspec.json.encode(CheckpointIn(note=note)), own_token)
        return True

    def _tell(self, body: ReportMachineIn, tries: int = TRIES) -> bool:
        return self._ask("/v1/instance/machine", msgspec.json.encode(body), self.token, tries)

    def _ask(self, path: str, body: bytes, token: str, tries: int = TRIES) -> bool:
        wait = FIRST_REST_S
        for number in range(tries):
            try:
                answer = self.api.ask("POST", path, body, token)
            except ApiSilentError as error:
                why, is_final = str(error), False
            else:
                if answer.is_good:
                    return True
                why = f"{answer.error().message} ({answer.status})"
                is_later = answer.status in {http.client.TOO_MANY_REQUESTS, http.client.UNAUTHORIZED}
                is_final = answer.status < http.client.INTERNAL_SERVER_ERROR and not is_later
            say(f"the platform did not take a report: {why}")
            if is_final:
                return False
            if number < tries - 1:
                if self.rest(wait):
                    return False
                wait = min(LONGEST_REST_S, wait * 2)
        return False
