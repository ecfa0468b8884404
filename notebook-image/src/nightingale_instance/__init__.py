"""What runs inside an instance: the entry point of its Jupyter server, and `nightingale-instance`.

import nightingale_instance

with nightingale_instance.job(then="stop") as job:
    for epoch in range(10):
        train(epoch)
        job.progress(10 * (epoch + 1), note=f"epoch {epoch + 1} of 10")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nightingale_instance.jobs import Job


def job(name: str = "job", *, then: str | None = None, always: bool = False) -> Job:
    """Return a job to be used with `with`: while it lasts it keeps the instance up, however idle it looks.

    `then` is done at its end: `stop`, `delete`, or `resize:gpu=none,cpu=s`; after an exception only with `always`.
    Raises PlatformError outside of an instance, or for a `then` that is none.
    """
    from nightingale_instance.jobs import Job  # noqa: PLC0415 - the server's start needs none of it
    from nightingale_instance.platform_api import PlatformApi  # noqa: PLC0415 - same

    return Job(PlatformApi.of_environment(), name, then=then, always=always)
