"""`nightingale-instance`: what a person, or their script, asks of the platform from inside the instance.

Results go to stdout, everything else to stderr. Exit status: 0 done, 1 refused or not reached (with why and what to do
next), 2 wrong use; `run` ends as its command did.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from nightingale_instance.platform_api import PlatformApi, PlatformError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_REFUSED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one command and return its exit status."""
    parser = _parser()
    told = parser.parse_args(arguments)
    try:
        api = PlatformApi.of_environment()
        status: int = told.do(api, told)
    except PlatformError as error:
        sys.stderr.write(f"error: {error}.\n")
        if error.next_step:
            sys.stderr.write(f"hint: {error.next_step}\n")
        return _REFUSED
    return status


# --- commands ---------------------------------------------------------------------------------------------------------


def _status(api: PlatformApi, told: argparse.Namespace) -> int:
    _show(api.call("GET", ""), is_json=told.json)
    return 0


def _run(api: PlatformApi, told: argparse.Namespace) -> int:
    from nightingale_instance.jobs import Job  # noqa: PLC0415 - subprocess and threads, which no other command needs
    from nightingale_instance.running import name_of, run_command  # noqa: PLC0415 - same

    command = told.command[1:] if told.command[:1] == ["--"] else told.command
    if not command:
        sys.stderr.write("error: nothing to run.\nhint: nightingale-instance run -- python train.py\n")
        return 2
    return run_command(command, Job(api, told.name or name_of(command), then=told.then, always=told.always))


def _stop(api: PlatformApi, told: argparse.Namespace) -> int:
    _show(api.call("POST", "/stop"), is_json=told.json)
    return 0


def _resize(api: PlatformApi, told: argparse.Namespace) -> int:
    wanted = {name: getattr(told, name) for name in ("cpu", "memory", "gpu", "disk") if getattr(told, name)}
    if not wanted:
        sys.stderr.write("error: no size is named.\nhint: nightingale-instance resize --gpu none\n")
        return 2
    _show(api.call("POST", "/resize", wanted), is_json=told.json)
    return 0


def _extend(api: PlatformApi, told: argparse.Namespace) -> int:
    _show(api.call("POST", "/extend", {"seconds": told.seconds}), is_json=told.json)
    return 0


def _notify(api: PlatformApi, told: argparse.Namespace) -> int:
    api.call("POST", "/notifications", {"message": " ".join(told.text)})
    return 0


def _progress(api: PlatformApi, told: argparse.Namespace) -> int:
    body = {"percent": told.percent, "note": told.note}
    try:
        api.call("PUT", "/progress", {**body, "job_id": os.environ.get("NIGHTINGALE_JOB", "")})
    except PlatformError as error:
        if error.code != "not_found":
            raise
        api.call("PUT", "/progress", body)  # the job was begun anew since
    return 0


def _checkpoint(api: PlatformApi, told: argparse.Namespace) -> int:
    api.call("POST", "/checkpoints", {"note": told.note})
    return 0


# --- words ------------------------------------------------------------------------------------------------------------


def _show(instance: dict[str, Any], *, is_json: bool) -> None:
    sys.stdout.write((json.dumps(instance) if is_json else "\n".join(_lines(instance))) + "\n")


def _lines(instance: dict[str, Any]) -> list[str]:
    """Return what a person wants to know of their instance."""
    size = " ".join(f"{name} {instance['size'][name]}" for name in ("cpu", "memory", "gpu", "disk"))
    cost, price = instance["cost"], instance["price_per_hour"]
    rows = [
        ("instance", f"{instance['name']} ({instance['id']}) in {instance['project']}, {instance['status']}"),
        ("size", size),
        ("cost", f"{cost['amount']} {cost['currency']} so far, {price['amount']} an hour"),
        ("why up", instance["why_up"]),
        ("stops", _moment(instance["stops_at"]) if instance["stops_at"] else ""),
        ("home", _home(instance.get("home"))),
        ("warning", instance["warning"]),
        ("job", _job(instance["job"]) if instance["job"] else ""),
        *(("told", f"{_moment(one['at'])} {one['text']}") for one in instance["notifications"][-3:]),
        *(("kept", f"{_moment(one['at'])} {one['note']}".strip()) for one in instance["checkpoints"][-1:]),
        ("reason", instance["reason"]["words"] if instance["reason"] else ""),
    ]
    return [f"{name:<10}{words}" for name, words in rows if words]


def _home(home: dict[str, Any] | None) -> str:
    if home is None or home["used_bytes"] is None or home["limit_bytes"] is None:
        return ""
    used, limit = home["used_bytes"] / (1 << 30), home["limit_bytes"] / (1 << 30)
    return f"{used:.1f} of {limit:.1f} GiB used"


def _job(job: dict[str, Any]) -> str:
    percent = "" if job["percent"] is None else f"{job['percent']} %"
    return " ".join(part for part in (job["name"], percent, job["note"]) if part) or "runs"


def _moment(text: str) -> str:
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M} UTC"


def _seconds(text: str) -> int:
    """Return the seconds of `10m`, `2h` or `1d`."""
    match = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text} is no length of time: say 10m, 2h or 1d")
    return int(match[1]) * _UNITS[match[2]]


def _percent(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,3})(\.[0-9]*)?%?", text)
    if match is None or int(match[1]) > 100:  # noqa: PLR2004 - per cent
        raise argparse.ArgumentTypeError(f"{text} is none of 0 to 100")
    return int(match[1])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nightingale-instance", description="What this instance can ask of the platform about itself."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, do: Any, summary: str, *, has_json: bool = False) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=summary, description=summary)
        made.set_defaults(do=do)
        if has_json:
            made.add_argument("--json", action="store_true", help="print the instance as JSON")
        return made

    add("status", _status, "Why it is up, when it stops, what it has cost so far.", has_json=True)
    run = add("run", _run, "Run a command, and keep the instance up while it runs.")
    run.add_argument("--then", metavar="WHAT", help="after a good end: stop, delete, or resize:gpu=none,cpu=s")
    run.add_argument("--always", action="store_true", help="do --then after a bad end too")
    run.add_argument("--name", help="what the job is called")
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND ...", help="the command")
    add("stop", _stop, "Stop it; the home stays.", has_json=True)
    resize = add("resize", _resize, "Change its size; it restarts.", has_json=True)
    for resource in ("cpu", "memory", "gpu", "disk"):
        resize.add_argument(f"--{resource}", metavar="SIZE", help=f"the {resource}'s t-shirt size")
    extend = add("extend", _extend, "Move the time at which it stops by itself.", has_json=True)
    extend.add_argument("seconds", type=_seconds, metavar="TIME", help="from now: 10m, 2h, 1d")
    notify = add("notify", _notify, "Show words to the owner, in the platform only.")
    notify.add_argument("text", nargs="+", metavar="TEXT")
    progress = add("progress", _progress, "Tell how far it is.")
    progress.add_argument("percent", type=_percent, metavar="PERCENT", help="0 to 100")
    progress.add_argument("--note", default="", help="up to 200 characters; stays in the platform")
    checkpoint = add("checkpoint", _checkpoint, "Mark this moment's work as one to keep.")
    checkpoint.add_argument("--note", default="", help="up to 200 characters; stays in the platform")
    return parser


if __name__ == "__main__":
    sys.exit(main())
