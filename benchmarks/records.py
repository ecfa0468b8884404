"""Records of reads at speed: small files are opened 4,000 times a second against a platform that takes the records.

`--minute` does it for 60 seconds, otherwise it is 5. Root on Linux only. Prints what arrived, what a record costs in
microseconds of CPU of the guard and of the shipper, and the observer's memory over time, then a line of JSON; exit
status 1 when a record is missing or the memory grew.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing.connection import Connection
from pathlib import Path

from reads import IMAGE_PYTHON, SMALL_FILES, make_dataset, watched

A_SECOND = 4000
MOST_GROWTH_KIB = 8192
"""Of the observer or the guard between the first quarter of the time and its end."""

LAST_RECORD_S = 60.0

OPENER = f"""
import os, sys, time
folder, seconds = sys.argv[1], float(sys.argv[2])
began = time.perf_counter()
for number in range(int(seconds * {A_SECOND})):
    ahead = began + number / {A_SECOND} - time.perf_counter()
    if ahead > 0.005:
        time.sleep(ahead)
    descriptor = os.open(f"{{folder}}/small/{{number % {SMALL_FILES}}}", os.O_RDONLY)
    os.read(descriptor, 8192)
    os.close(descriptor)
print(time.perf_counter() - began)
"""


def take(telling: Connection) -> None:
    """Be a platform that takes every batch; tell the port, then the number of opened files after each."""
    opened: set[int] = set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            records = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["records"]
            opened.update(record["open_id"] for record in records if "closed_at" in record)
            body = json.dumps({"number": records[-1]["number"]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            telling.send(len(opened))

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    telling.send(server.server_port)
    server.serve_forever()


def cpu_s(pid: int) -> tuple[float, float]:
    """Return the seconds of CPU that a process spent in its own code and in the kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    tick = os.sysconf("SC_CLK_TCK")
    return int(fields[11]) / tick, int(fields[12]) / tick


def resident_kib(pid: int) -> int:
    """Return how much memory a process has."""
    (line,) = [one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmRSS")]
    return int(line.split()[1])


def guard_of(observer: int) -> int:
    """Return the observer's only child."""
    return int(Path(f"/proc/{observer}/task/{observer}/children").read_text().split()[0])


def main() -> int:
    """Measure, print, and return 1 when records are missing or memory grew."""
    if os.geteuid() != 0 or not Path(IMAGE_PYTHON).exists():
        sys.stderr.write("reads are watched for root only, after ./run setup: nothing was measured\n")
        return 0
    wanted_s = 60.0 if "--minute" in sys.argv[1:] else 5.0
    hearing, telling = multiprocessing.Pipe(duplex=False)
    platform = multiprocessing.Process(target=take, args=(telling,), daemon=True)
    platform.start()
    with tempfile.TemporaryDirectory(prefix="nightingale-records-") as name:
        folder = Path(name, "watched")
        (folder / "mount").mkdir(parents=True)
        source = make_dataset(Path(name))
        with watched(folder, source, "fanotify", hearing.recv()) as observer:
            guard = guard_of(observer)
            before = {pid: cpu_s(pid) for pid in (observer, guard)}
            command = ["nsenter", "-t", str(observer), "-m", "--", sys.executable, "-I", "-c", OPENER]
            sizes: list[tuple[int, int]] = []
            arrived = 0
            with subprocess.Popen([*command, str(folder / "mount"), str(wanted_s)], stdout=subprocess.PIPE) as opener:
                while opener.poll() is None:
                    sizes.append((resident_kib(observer), resident_kib(guard)))
                    time.sleep(wanted_s / 20)
                took_s = float(opener.stdout.read()) if opener.stdout is not None else 0.0
            opens = int(wanted_s * A_SECOND)
            while arrived < opens and hearing.poll(LAST_RECORD_S):
                arrived = hearing.recv()
            sizes.append((resident_kib(observer), resident_kib(guard)))
            spent = {pid: [now - was for now, was in zip(cpu_s(pid), before[pid], strict=True)] for pid in before}
    platform.terminate()
    quarter = len(sizes) // 4
    growth = max(sizes[-1][side] - max(one[side] for one in sizes[: quarter + 1]) for side in (0, 1))
    row = {
        "opens": opens,
        "opens a second": round(opens / took_s),
        "missing": opens - arrived,
        "guard us": round(1e6 * sum(spent[guard]) / opens, 1),
        "guard in kernel": round(spent[guard][1] / sum(spent[guard]), 2),
        "shipper us": round(1e6 * sum(spent[observer]) / opens, 1),
        "observer KiB": [sizes[0][0], sizes[quarter][0], sizes[-1][0]],
        "guard KiB": [sizes[0][1], sizes[quarter][1], sizes[-1][1]],
    }
    is_held = not row["missing"] and growth <= MOST_GROWTH_KIB
    for what, value in row.items():
        print(f"{what:<18} {value}")
    print(json.dumps({"records": row, "load": os.getloadavg()[0], "ok": is_held}))
    return 0 if is_held else 1


if __name__ == "__main__":
    sys.exit(main())
