"""The observer and the drain as processes: what they are told, what they answer, and which of them has the spool."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import signal
import socket
import sys
import time
from pathlib import Path

import msgspec

from nightingale.contract.reads import ObserverSeen, ObserverSpec
from nightingale_instance.audit.frames import DamagedSpoolError
from nightingale_instance.audit.observer import LOOK_S, MOST_SEGMENTS, Observer, ObserverError
from nightingale_instance.audit.shipper import Shipper, ship_for
from nightingale_instance.audit.watching import Way

LONGEST_DRAIN_S = 60.0


def main(arguments: list[str]) -> int:
    """Be the observer of `SPEC`: `SPEC --report-fd N [--events-fd M[,M2...] --way W]`, or `SPEC --drain`.

    `--way` (`watching.Way`) says in which way the descriptors watch; without descriptors it is the only one that is
    tried. `--most-segments N` is for a spool smaller than usual.

    Returns 0 when it was told to end or all is shipped, 1 when nothing can be watched or the drain was cut short.
    """
    os.umask(0o077)
    spec = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=ObserverSpec)
    options = dict(zip(arguments[1::2], arguments[2::2], strict=False))
    root = Path(spec.spool_dir)
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (root / "lock").open("w", encoding="ascii") as lock:
        if "--drain" in arguments:
            return _drain(spec, lock.fileno())
        report = socket.socket(fileno=int(options["--report-fd"]))
        with _starting(root).open("w", encoding="ascii") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)  # a drain of what an earlier start left sees it and gives way
            fcntl.flock(lock, fcntl.LOCK_EX)
        ways = (Way(options["--way"]),) if "--way" in options else tuple(Way)
        observer = Observer(spec, int(options.get("--most-segments", MOST_SEGMENTS)), ways)
        events = options.get("--events-fd")
        signal.signal(signal.SIGTERM, lambda *_: observer.end())
        signal.signal(signal.SIGINT, lambda *_: observer.end())
        try:
            if events is None:
                seen = observer.watch()
            else:
                seen = observer.take_over(ways[0], [int(one) for one in events.split(",")])
        except ObserverError as error:
            report.sendall(msgspec.json.encode(ObserverSeen(name=None, words=str(error), next_step=error.next_step)))
            return 1
        descriptors = array.array("i", observer.descriptors)
        report.sendmsg([msgspec.json.encode(seen)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
        report.close()
        observer.run()
    return 0


def _drain(spec: ObserverSpec, lock: int) -> int:
    """Ship what an instance without an observer has left. Gives way to an observer that starts."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0
    deadline = time.monotonic() + LONGEST_DRAIN_S
    with _starting(Path(spec.spool_dir)).open("w", encoding="ascii") as starting:

        def is_to_end() -> bool:
            return time.monotonic() > deadline or not _is_free(starting.fileno())

        def rest(seconds: float) -> None:
            end = time.monotonic() + seconds
            while time.monotonic() < end and not is_to_end():
                time.sleep(LOOK_S)

        shipper = Shipper(spec)
        try:
            is_done = ship_for(shipper, is_to_end, rest, is_guard_alive=False)
            if is_done:  # nobody waits any more, and what was full is empty
                shipper.notices.drained()
                is_done = ship_for(shipper, is_to_end, rest, is_guard_alive=False)
        except DamagedSpoolError as error:
            sys.stderr.write(f"the spool is damaged: {error}\n")
            if shipper.notices.damaged(str(error)):
                with contextlib.suppress(DamagedSpoolError):  # it still is
                    ship_for(shipper, is_to_end, rest, is_guard_alive=False)
            return 1
        return 0 if is_done or not _is_free(starting.fileno()) else 1


def _starting(root: Path) -> Path:
    """Return the file that an observer holds locked while it waits for the spool."""
    return root / "starting"


def _is_free(descriptor: int) -> bool:
    """Return whether nobody holds the file's lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True
