"""`python -m nightingale_build.boot /etc/nightingale/instance.json`: the unit of a machine in a cloud, as root."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

import nightingale.contract.lean_start  # noqa: F401 - before anything that imports msgspec
from nightingale.contract.vocabulary import ReasonCode
from nightingale_build.boot.api import Api
from nightingale_build.boot.azure_metadata import AzureMetadata
from nightingale_build.boot.cloud import ADDRESS, Cloud
from nightingale_build.boot.identity import say
from nightingale_build.boot.keeper import Keeper
from nightingale_build.boot.metadata import Metadata
from nightingale_build.boot.told import Told, read_told
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
            metadata=cloud_of(told, given.metadata),
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


def cloud_of(told: Told, address: str = ADDRESS) -> Cloud:
    """Return the cloud that the machine was told it stands in. Raises RefusalError where this image proves nothing."""
    if told.place == "aws":
        return Metadata(address)
    if told.place == "azure" and told.audience:
        return AzureMetadata(told.audience, address)
    lacks = "and not whom its tokens are for" if told.place == "azure" else "where this image proves nothing"
    raise RefusalError(
        ReasonCode.BOOT_FAILED,
        f"The machine was told that it stands in {told.place[:20]!r}, {lacks}.",
        "Tell your administrator: the image and infra/instance are of different versions.",
    )


def _api(url: str) -> Api:
    try:
        return Api(url)
    except ValueError as error:
        raise RefusalError(ReasonCode.BOOT_FAILED, str(error), "Tell your administrator.") from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
