"""Plays one seed on a platform: asks, kills, brings back, waits until nothing moves, and looks at what is there."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from e2e.outside import SMALL, Outside, instances
from e2e.processes import is_alive
from faults import laws
from faults.oracle import Oracle, TerminatedInstance
from faults.plan import MACHINE, Operation, Run, Victim, plan
from faults.victims import Killed, strike

SETTLES_S = 45.0
"""How long a platform may take until nothing moves any more. Alone on two cores it takes about 3 s."""

PERSON = "ada"
MOST_DELETES = 4
"""Deleting is killed again and again, and then once let be: it must then succeed."""

_BODIES = {Operation.EXTEND: {"seconds": 3600}}


class ViolationError(Exception):
    """The platform broke a promise, and the run cannot go on."""


@dataclass
class Step:
    """One operation, and what became of it."""

    operation: Operation
    wanted: Victim | None = None
    killed: Killed | None = None
    answer: int | None = None
    """The HTTP status; None when there was no answer."""
    recovery_s: float = 0.0

    def __str__(self) -> str:
        """Return the step in a few words: the operation, who was killed when, and the answer where there was none."""
        words = str(self.operation)
        if self.killed is not None:
            words += f" -9 {self.killed.victim} @{self.killed.after_s:.2f}"
        elif self.wanted is not None:
            words += f" -9 nobody ({self.wanted})"
        return words if self.answer is not None else words + " unanswered"


@dataclass
class Played:
    """A run, over."""

    seed: int
    steps: list[Step] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class _Subject:
    """One instance of a run, and what was asked of it."""

    name: str
    request_id: str
    id: str = ""
    acknowledged: list[str] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    deaths: list[float] = field(default_factory=list)
    killed_generation: int = 0
    """Of the start whose server died last."""
    is_over: bool = False


class Game:
    """One seed on one platform."""

    def __init__(self, outside: Outside, oracle: Oracle, seed: int) -> None:
        """Take the platform, which serves, and what watches over it."""
        self._outside = outside
        self._oracle = oracle
        self._run: Run = plan(seed)
        self._played = Played(seed)
        self._steps = itertools.count()

    def play(self) -> Played:
        """Play the run and return it with every violation found."""
        began = time.monotonic()
        subjects = [
            _Subject(f"run{self._run.seed}-{number}", f"seed-{self._run.seed}-{number}")
            for number in range(self._run.instances)
        ]
        try:
            for subject in subjects:
                self._operate(subject, Operation.LAUNCH)
            for _ in range(self._run.steps):
                for subject in subjects:
                    self._next(subject)
            for subject in subjects:
                self._bring_to_its_end(subject)
            self._played.violations += self._oracle.of_platform()
        except (ViolationError, AssertionError, httpx.HTTPError) as error:
            self._played.violations.append(f"{type(error).__name__}: {error}")
        self._played.seconds = time.monotonic() - began
        return self._played

    # --- operations ---------------------------------------------------------------------------------------------------

    def _next(self, subject: _Subject) -> None:
        """Ask for one of the operations that the platform allows now."""
        if subject.is_over:
            return
        seen = self._get(subject)
        operation = self._run.choose(next(self._steps), [one for one in seen["allowed_actions"] if one != "open"])
        if operation is not None:
            self._operate(subject, operation, seen)

    def _bring_to_its_end(self, subject: _Subject) -> None:
        """Delete it, as often as it takes when the deleting itself is killed."""
        for number in range(MOST_DELETES):
            if subject.is_over:
                return
            self._operate(subject, Operation.DELETE, self._get(subject), is_spared=number == MOST_DELETES - 1)
        if not subject.is_over:
            message = f"{subject.name} could not be deleted: {self._get(subject)['status']}"
            raise ViolationError(message)

    def _operate(self, subject: _Subject, operation: Operation, seen: Any = None, *, is_spared: bool = False) -> None:
        number = next(self._steps)
        is_running = seen is not None and seen["status"] == "running"
        kill = self._run.kill(number, operation, is_running=is_running) if not is_spared else None
        step = Step(operation, kill.victim if kill is not None else None)
        self._played.steps.append(step)
        if kill is not None and kill.victim is Victim.KERNEL:
            self._start_kernel(subject)
        method, path, body = self._request(subject, operation, number, seen)
        answers: list[httpx.Response] = []
        client = self._outside.api(PERSON)
        sent_at = time.monotonic()
        asking = threading.Thread(target=_ask, args=(client, method, path, body, answers))
        asking.start()
        if kill is not None:
            # A launch's answer brings the id; a process inside the machine comes long after it.
            if kill.victim in {*MACHINE, Victim.OBSERVER} and not subject.id:
                asking.join()
                subject.id = answers[0].json().get("id", "") if answers else ""
            step.killed = strike(self._outside, kill, subject.id, sent_at)
        asking.join()
        self._come_back(step)
        if step.killed is not None and step.killed.victim in MACHINE:
            subject.deaths.append(step.killed.at)
            subject.killed_generation = step.killed.generation
        self._note(subject, step, answers[0] if answers else None)
        if operation is Operation.LAUNCH:
            self._ask_again(subject, step, body)
        if subject.id:
            self._settle(subject, step)

    def _request(self, subject: _Subject, operation: Operation, number: int, seen: Any) -> tuple[str, str, Any]:
        if operation is Operation.LAUNCH:
            launch = {"name": subject.name, "size": SMALL, "datasets": ["demo-scans"], "request_id": subject.request_id}
            return "POST", instances(), launch
        if operation is Operation.DELETE:
            return "DELETE", instances(subject.id), None
        body: Any = _BODIES.get(operation)
        if operation is Operation.RESIZE:
            body = {"memory": self._run.size(number, seen["size"]["memory"])}
        return "POST", instances(subject.id, operation), body

    def _note(self, subject: _Subject, step: Step, answer: httpx.Response | None) -> None:
        step.answer = answer.status_code if answer is not None else None
        if answer is None or answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            subject.unanswered.append(step.operation)
        elif answer.is_success:
            subject.acknowledged.append(step.operation)
            subject.id = subject.id or answer.json()["id"]
        elif answer.is_server_error:
            self._played.violations.append(f"{subject.name}: {step.operation} was answered with {answer.text[:300]}")

    def _ask_again(self, subject: _Subject, step: Step, body: Any) -> None:
        """Ask for the launch once more under its request id: the same instance, or the first time that it is made."""
        again = self._outside.ask("POST", instances(), status=202, json=body)
        if step.answer == httpx.codes.ACCEPTED and again["id"] != subject.id:
            self._played.violations.append(f"{subject.name}: the same request made {subject.id} and {again['id']}")
        subject.id = again["id"]
        if not subject.acknowledged:
            subject.acknowledged.append(Operation.LAUNCH)
            subject.unanswered.clear()
        named = self._outside.ask("GET", instances(), params={"all": "true", "limit": 500})["instances"]
        if len(found := [one["id"] for one in named if one["name"] == subject.name]) != 1:
            self._played.violations.append(f"{subject.name} is there {len(found)} times: {found}")

    def _start_kernel(self, subject: _Subject) -> None:
        """Have the instance's server run a kernel, as an open notebook does."""
        folder = self._outside.folder / "instances" / subject.id
        token = (folder / "secret" / "jupyter.token").read_text()
        transport = httpx.HTTPTransport(uds=str(folder / "run" / "jupyter.sock"))
        headers = {"Authorization": f"token {token}"}
        with httpx.Client(transport=transport, base_url="http://localhost", headers=headers, timeout=20) as client:
            client.post("/api/kernels", json={}).raise_for_status()

    # --- afterwards ---------------------------------------------------------------------------------------------------

    def _come_back(self, step: Step) -> None:
        """Wait until every process of the platform serves again; a killed supervisor is started anew."""
        killed = step.killed
        began = time.monotonic()
        if killed is not None and killed.victim is Victim.SUPERVISOR:
            self._outside.up()
        until = time.monotonic() + SETTLES_S
        while time.monotonic() < until:
            names = (Victim.SUPERVISOR, Victim.API, Victim.SCHEDULER, Victim.GATEWAY)
            pids = [self._outside.pid(name) for name in names]
            if all(pid and is_alive(pid) for pid in pids) and (killed is None or killed.pid not in pids):
                with contextlib.suppress(httpx.TransportError):
                    self._outside.ask("GET", "/health")
                    step.recovery_s = time.monotonic() - began
                    return
            time.sleep(0.01)  # other processes have no event to await
        message = f"the platform did not come back after its {killed.victim if killed else 'nobody'} was killed"
        raise ViolationError(message)

    def _settle(self, subject: _Subject, step: Step) -> None:
        """Wait until nothing moves, and look at the instance and its history."""
        began = time.monotonic()
        until = began + SETTLES_S
        while True:
            seen = self._get(subject)
            if self._is_calm(subject, seen):
                break
            if time.monotonic() > until:
                entries = [(one["event"], one["after"], one["at"]) for one in self._outside.history(subject.id)]
                message = f"{subject.name} ({subject.id}) did not settle: {json.dumps(seen)[:600]} {entries}"
                raise ViolationError(message)
            time.sleep(0.02)  # over HTTP there is no event to await
        step.recovery_s += time.monotonic() - began
        history = self._outside.history(subject.id)
        found = laws.of_instance(seen) + laws.of_history(subject.name, history)
        found += laws.of_requests(subject.name, history, PERSON, subject.acknowledged, subject.unanswered)
        found += laws.of_builds(subject.name, self._outside.ask("GET", instances(subject.id, "builds"))["builds"])
        for died_at in subject.deaths:
            found += laws.of_death(subject.name, history, died_at)
        found += self._oracle.of_machine(seen)
        self._played.violations += [one for one in found if one not in self._played.violations]
        if seen["status"] == "terminated":
            subject.is_over = True
            self._oracle.remember(TerminatedInstance(self._run.seed, subject.id, subject.name, history))

    def _is_calm(self, subject: _Subject, seen: Any) -> bool:
        """Return whether it is settled; a running one whose server was killed under it is yet to be found out."""
        if seen["status"] not in laws.SETTLED or seen["unreachable_since"] is not None:
            return False
        if seen["status"] != "running" or not subject.deaths:
            return True
        since = laws.moment(seen["running_since"]).timestamp()
        if since == int(subject.deaths[-1]) and seen["generation"] > subject.killed_generation:
            # History counts whole seconds, and this start came after the death within the same one.
            subject.deaths[-1] = math.nextafter(since, 0)
        return since > subject.deaths[-1]

    def _get(self, subject: _Subject) -> Any:
        return self._outside.ask("GET", instances(subject.id))


def _ask(client: httpx.Client, method: str, path: str, body: Any, answers: list[httpx.Response]) -> None:
    with contextlib.suppress(httpx.TransportError):
        answers.append(client.request(method, path, **({"json": body} if body is not None else {})))
