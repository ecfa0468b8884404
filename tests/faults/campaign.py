"""Plays many seeds: a few on each platform, two platforms side by side, and counts what happened."""

from __future__ import annotations

import contextlib
import queue
import shutil
import statistics
import sys
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from e2e.outside import Outside, opened
from faults.game import Game, Played
from faults.oracle import Oracle
from faults.plan import PLATFORM

SEEDS_A_PLATFORM = 6

CALM_KILLS = 2
"""A supervisor waits longer each time before it starts a child that keeps dying; a fresh one has not been vexed."""


@dataclass
class Campaign:
    """The seeds to play and what came of them."""

    seeds: Iterable[int]
    jobs: int = 2
    keep: str | None = None
    slow_to_go: int = 0
    _waiting: queue.SimpleQueue[int] = field(default_factory=queue.SimpleQueue)
    _played: dict[int, Played] = field(default_factory=dict)
    _telling: threading.Lock = field(default_factory=threading.Lock)

    def play(self) -> list[Played]:
        """Play every seed and return the runs in order; Ctrl-C leaves out those that have not begun."""
        for seed in self.seeds:
            self._waiting.put(seed)
        workers = [threading.Thread(target=self._work) for _ in range(self.jobs)]
        for worker in workers:
            worker.start()
        try:
            for worker in workers:
                worker.join()
        except KeyboardInterrupt:
            sys.stderr.write("the seeds that are being played are played to their end\n")
            with contextlib.suppress(queue.Empty):
                while True:
                    self._waiting.get_nowait()
            for worker in workers:
                worker.join()
        return [self._played[seed] for seed in sorted(self._played)]

    def _work(self) -> None:
        while not self._waiting.empty():
            seeds: list[int] = []
            try:
                with opened() as outside:
                    self._use(outside, seeds)
            except Exception as error:  # noqa: BLE001 - a platform that does not start or end is a finding like any other
                seed = seeds[-1] if seeds else 0
                run = self._played.setdefault(seed, Played(seed))
                self._blame(run, [f"with its platform: {type(error).__name__}: {error}"])

    def _use(self, outside: Outside, seeds: list[int]) -> None:
        """Play seeds on one platform for as long as it is healthy and fresh."""
        oracle = Oracle(outside)
        kills: Counter[str] = Counter()
        is_healthy = True
        while is_healthy and len(seeds) < SEEDS_A_PLATFORM and max(kills.values(), default=0) < CALM_KILLS:
            try:
                seed = self._waiting.get_nowait()
            except queue.Empty:
                break
            seeds.append(seed)
            run = Game(outside, oracle, seed).play()
            self._played[seed] = run
            self._tell(run)
            kills.update(step.killed.victim for step in run.steps if step.killed and step.killed.victim in PLATFORM)
            self._judge(oracle, is_end=False)
            is_healthy = not run.violations
            if not is_healthy:
                self._save(outside, seed)
        if not self._judge(oracle, is_end=True):
            self._save(outside, seeds[-1])
        self.slow_to_go += oracle.slow_to_go

    def _judge(self, oracle: Oracle, *, is_end: bool) -> bool:
        """Look at deleted instances whose time has come; return whether all was well."""
        found = oracle.of_the_gone(is_end=is_end)
        for seed, wrong in found.items():
            self._blame(self._played[seed], wrong)
        return not found

    def _blame(self, run: Played, wrong: list[str]) -> None:
        run.violations += wrong
        with self._telling:
            for words in wrong:
                sys.stderr.write(f"seed {run.seed:4d}  VIOLATION  {words}\n")

    def _tell(self, run: Played) -> None:
        with self._telling:
            verdict = "violation" if run.violations else "ok"
            steps = ", ".join(str(step) for step in run.steps)
            sys.stderr.write(f"seed {run.seed:4d}  {verdict:9}  {run.seconds:5.1f} s  {steps}\n")
            for words in run.violations:
                sys.stderr.write(f"seed {run.seed:4d}  VIOLATION  {words}\n")

    def _save(self, outside: Outside, seed: int) -> None:
        """Copy the platform's folder, if wanted, before it is removed."""
        if self.keep is not None:
            target = Path(self.keep) / f"seed-{seed}"
            with contextlib.suppress(shutil.Error, OSError):  # sockets, and files that go meanwhile
                shutil.copytree(outside.folder, target, symlinks=True, ignore=shutil.ignore_patterns("*.sock"))


def summary(played: list[Played], slow_to_go: int) -> str:
    """Return a table of what was done and how it went."""
    steps = [step for run in played for step in run.steps]
    kills = [step for step in steps if step.killed is not None]
    recovery = sorted(step.recovery_s for step in kills)
    by_victim = Counter(str(step.killed.victim) for step in kills if step.killed is not None)
    moments = [step.killed.after_s for step in kills if step.killed is not None]
    operations = sorted({str(step.operation) for step in steps})
    lines = [
        f"runs {len(played)}, operations {len(steps)}, kills {len(kills)}",
        f"requests without an answer {sum(step.answer is None for step in steps)}",
        f"nobody to kill at that moment {sum(step.wanted is not None and step.killed is None for step in steps)}",
        "",
        f"{'killed':12}" + "".join(f"{name:>9}" for name in [*operations, "all"]),
    ]
    for victim, count in by_victim.most_common():
        row = Counter(str(s.operation) for s in kills if s.killed is not None and s.killed.victim == victim)
        lines.append(f"{victim:12}" + "".join(f"{row[name]:9d}" for name in operations) + f"{count:9d}")
    if kills:
        lines += [
            "",
            f"moments after the request: median {statistics.median(moments):.2f} s, latest {max(moments):.2f} s",
            f"settled again after: median {statistics.median(recovery):.1f} s, worst {recovery[-1]:.1f} s",
            f"looks that saw a process outlive its work for a moment: {slow_to_go}",
        ]
    broken = [run for run in played if run.violations]
    lines += ["", f"violations: {sum(len(run.violations) for run in broken)} in {len(broken)} runs"]
    return "\n".join(lines)
