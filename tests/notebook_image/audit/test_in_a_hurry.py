"""One process that opens files as fast as it can: the guard gives way to it, and is starved by nobody."""

from __future__ import annotations

import os
import subprocess
import sys

from notebook_image.audit.watched import Watched, needs_watching, until

pytestmark = needs_watching

TIMES = 3000

HURRY = """
import os, sys
for _ in range(int(sys.argv[2])):
    os.close(os.open(sys.argv[1], os.O_RDONLY))
"""

HOG = "import sys\nprint(flush=True)\nwhile True: pass"


def opened(place: Watched, pid: int) -> int:
    return len({one["open_id"] for one in place.of("small2", pid) if "closed_at" in one})


def test_every_opening_of_a_process_in_a_hurry_has_a_record_and_the_guard_is_ordinary_again(place: Watched):
    pid, _ = place.run(sys.executable, "-I", "-c", HURRY, place.target / "small2", str(TIMES))
    place.platform.until(lambda _: opened(place, pid) == TIMES)
    until(lambda: os.sched_getscheduler(place.guard()) == os.SCHED_OTHER)


def test_a_guard_that_gives_way_is_not_starved_by_programs_that_never_rest(place: Watched):
    hogs = [subprocess.Popen([sys.executable, "-I", "-c", HOG], stdout=subprocess.PIPE) for _ in range(3)]
    try:
        for hog in hogs:
            assert hog.stdout.readline() == b"\n"
        pid, _ = place.run(sys.executable, "-I", "-c", HURRY, place.target / "small2", str(TIMES))
    finally:
        for hog in hogs:
            hog.kill()
            hog.communicate(timeout=20)
    place.platform.until(lambda _: opened(place, pid) == TIMES)
