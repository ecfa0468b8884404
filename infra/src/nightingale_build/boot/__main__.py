"""`python -m nightingale_build.boot /etc/nightingale/instance.json`: the unit of a machine in a cloud, as root."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

import nightingale.contract.lean_start  # noqa: F401 - before anything that imports msgspec
from nightingale.contract.vocabulary import ReasonCode
from nightingale_build.boot.api import Api
from nightingale_build.boot.identity import say
from nightingale_build.boot.keeper import Keeper
from nightingale_build.boot.metadata import ADDRESS, Metadata
from nightingale_build.boot.told import read_told
from nightingale_build.launcher.refusal import RefusalError

REFUSED = 78
"""EX_CONFIG of sysexits.h: starting it again would change nothing, and systemd is told so."""


def main(arguments: list[str]) -> int:
    """Be the instance until it ends; return 0, or 78 when it could not become one or could not start."""
    parser = argparse.ArgumentParser(prog="nightingale_build.boot", description=__doc__)
    parser.add_argument("file", type=Path, help="what cloud-init wrote")
    parser.add_argument(
        "--data", type=Path, default=Path("/var/lib/nightingale"), help="where the instance's state is kept"
    )
    parser.add_argument("--disks", type=Path, default=Path("/run/nightingale/disks.json"), help="how mounting went")
    parser.add_argument("--metadata", default=ADDRESS, help="address of the metadata service")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the image's environment")
    given = parser.parse_args(arguments)
    try:
        told = read_told(given.file)
        keeper = Keeper(
            told=told,
            api=_api(told.api_url),
            metadata=Metadata(given.metadata),
            data=given.data,
            disks=given.disks,
            python=given.python,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: keeper.ask_to_end())
        keeper.run()
    except RefusalError as refusal:
        say(f"{refusal.code.value}: {refusal} {refusal.next_step}")
        return REFUSED
    return 0


def _api(url: str) -> Api:
    try:
        return Api(url)
    except ValueError as error:
        raise RefusalError(ReasonCode.BOOT_FAILED, str(error), "Tell your administrator.") from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
