"""What an instance says of its own work: jobs that keep it up, work marked to keep, words to its owner.

All of it is said from inside, by the owner's own code, and held small: it lies in the instance's record. Notes, words
and last lines may hold patients' data: shown in the platform only, to those who may read the logs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

LEASE = timedelta(seconds=60)
"""A job that was not renewed for so long runs no more, whatever became of it."""

MOST_JOBS = 8
MOST_NOTIFICATIONS = 5
MOST_CHECKPOINTS = 5


@dataclass(frozen=True)
class Job:
    """A piece of work. One without an id is progress that was told outside of any job: it keeps nothing up."""

    id: str
    name: str
    begun_at: datetime
    lease_until: datetime
    percent: int | None = None
    note: str = ""

    def runs(self, now: datetime) -> bool:
        """Return whether its lease holds. One longer than any lease is of a clock that stepped back since."""
        return self.id != "" and now < self.lease_until <= now + 2 * LEASE


@dataclass(frozen=True)
class Notification:
    """Words to the owner; `log_tail`: a job's last lines."""

    id: str
    at: datetime
    text: str
    log_tail: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checkpoint:
    """A moment whose work is to be kept."""

    at: datetime
    note: str


@dataclass(frozen=True)
class Work:
    """All of it, each kind oldest first."""

    jobs: tuple[Job, ...] = ()
    notifications: tuple[Notification, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()
    worked_at: datetime | None = None
    """When a job ended last."""

    def used_at(self, now: datetime) -> datetime | None:
        """Return when a job was last at work: `now` while one is, None when there was none."""
        if self.runs(now):
            return now
        ends = [job.lease_until for job in self.jobs if job.id != ""]
        known = [at for at in (self.worked_at, *ends) if at is not None]
        return min(now, max(known)) if known else None

    def runs(self, now: datetime) -> bool:
        """Return whether a job runs, which counts as use."""
        return any(job.runs(now) for job in self.jobs)

    def running(self, now: datetime) -> int:
        """Return how many jobs run."""
        return sum(job.runs(now) for job in self.jobs)

    def shown(self, since: datetime | None, now: datetime) -> Job | None:
        """Return the job to show: the last begun that runs, else the progress told last outside of any, else None.

        `since`: when its server began to run; what an earlier one told is of the past.
        """
        if since is None:
            return None
        own = [job for job in self.jobs if job.begun_at >= since and (job.id == "" or job.runs(now))]
        return max(own, key=lambda job: (job.id != "", job.begun_at), default=None)

    def find(self, job_id: str, now: datetime) -> Job | None:
        """Return the job of this id while it runs; with an empty id the one begun last."""
        running = [job for job in self.jobs if job.runs(now) and job_id in {"", job.id}]
        return running[-1] if running else None

    def with_job(self, job: Job, now: datetime) -> Work:
        """Return it with a job begun; what runs no more is forgotten, so is progress of before."""
        running = (other for other in self.jobs if other.runs(now))
        return replace(self, jobs=(*running, job), worked_at=self.used_at(now))

    def without_job(self, job_id: str) -> Work:
        """Return it without a job."""
        return replace(self, jobs=tuple(job for job in self.jobs if job.id != job_id))

    def with_ended(self, job_id: str, now: datetime) -> Work:
        """Return it with a job ended."""
        return replace(self.without_job(job_id), worked_at=now)

    def with_changed(self, job_id: str, change: Callable[[Job], Job]) -> Work:
        """Return it with one job changed."""
        return replace(self, jobs=tuple(change(job) if job.id == job_id else job for job in self.jobs))

    def with_notification(self, told: Notification) -> Work:
        """Return it with words added; only the last few are kept, and last lines of the last of them alone."""
        kept = tuple(replace(one, log_tail=()) for one in self.notifications[-(MOST_NOTIFICATIONS - 1) :])
        return replace(self, notifications=(*kept, told))

    def with_checkpoint(self, mark: Checkpoint) -> Work:
        """Return it with a mark added; only the last few are kept."""
        return replace(self, checkpoints=(*self.checkpoints[-(MOST_CHECKPOINTS - 1) :], mark))


NO_WORK = Work()
