"""The commands of `nightingale local` that keep a platform: backup, restore, pack, check-image, metrics."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nightingale_tui.cli.console import Console
from nightingale_tui.images import drift_words

_MIB = 2**20


def configure(rooms: Any, add_dir: Callable[[argparse.ArgumentParser], None]) -> None:
    """Add the commands to `local`'s."""
    backup = rooms.add_parser("backup", help="save the platform's data in one file, also while it runs")
    add_dir(backup)
    backup.add_argument("file", metavar="FILE", help="the file to make (tar, readable by you alone)")
    backup.add_argument("--with-homes", action="store_true", help="people's home folders too")
    backup.add_argument("--with-secrets", action="store_true", help="the gateway's host key and tokens too")
    restore = rooms.add_parser("restore", help="make a new data folder out of a backup")
    add_dir(restore)
    restore.add_argument("file", metavar="FILE", help="the backup")
    pack = rooms.add_parser("pack", help="make a dataset's folder ready for its reads to be recorded (root)")
    add_dir(pack)
    pack.add_argument("folder", metavar="FOLDER", help="the folder of one version, as the cluster file names it")
    check = rooms.add_parser("check-image", help="read every file of the image: is it what was installed?")
    add_dir(check)
    metrics = rooms.add_parser("metrics", help="print what the running platform counts and measures (OpenMetrics)")
    add_dir(metrics)


def run_backup(args: argparse.Namespace, console: Console, folders: Any) -> int:
    """Make a backup."""
    from nightingale_local.backup import back_up  # noqa: PLC0415 - `--help` needs none of the platform

    target = Path(args.file).expanduser().absolute()
    made = back_up(folders, target, with_homes=args.with_homes, with_secrets=args.with_secrets)
    if console.is_json:
        console.data(made)
        return 0
    console.line(f"{made['file']}: {made['files']} files, {made['bytes'] / _MIB:.1f} MiB.")
    if made["skipped"]:
        console.note(f"{made['skipped']} sockets, pipes or files that vanished meanwhile are not in it.")
    if not args.with_homes:
        console.note("People's homes are not in it: --with-homes saves them too.")
    return 0


def run_restore(args: argparse.Namespace, console: Console, folders: Any) -> int:
    """Make a data folder out of a backup."""
    from nightingale_local.restore import restore  # noqa: PLC0415 - `--help` needs none of the platform

    made = restore(folders, Path(args.file).expanduser().absolute())
    if console.is_json:
        console.data(made)
        return 0
    console.line(f"{made['dir']}: {made['files']} files, as of {made['made_at']:%Y-%m-%d %H:%M:%S} UTC.")
    if made["broken_streams"]:
        console.note(f"The audit log's chain does not hold in: {', '.join(made['broken_streams'])}.")
    console.note(f"Start it: nightingale local up --dir {made['dir']} --detach")
    return 0


def run_metrics(_: argparse.Namespace, console: Console, folders: Any) -> int:
    """Print the running platform's metrics."""
    from nightingale_local.control import fetch_metrics  # noqa: PLC0415 - `--help` needs none of the platform

    text = fetch_metrics(folders)
    if console.is_json:
        console.data({"openmetrics": text})
    else:
        console.line(text.rstrip("\n"))
    return 0


def run_pack(args: argparse.Namespace, console: Console, folders: Any) -> int:
    """Pack a dataset's folder into a file system of its own."""
    from nightingale_local.reads import pack  # noqa: PLC0415 - `--help` needs none of the platform

    made = pack(folders, Path(args.folder).expanduser().absolute())
    if console.is_json:
        console.data(made)
    else:
        console.line(f"{made['image']}: {made['files']} files, {made['bytes'] / _MIB:.1f} MiB.")
    return 0


def run_check_image(_: argparse.Namespace, console: Console, folders: Any) -> int:
    """Look at the image; status 1 when a file is not as it was installed."""
    import asyncio  # noqa: PLC0415 - `--help` needs none of the platform

    from nightingale_local.container import local_platform  # noqa: PLC0415 - same
    from nightingale_local.image_watch import ImageWatch, image_of  # noqa: PLC0415 - same

    python = image_of(folders)
    platform = local_platform(folders)
    check = asyncio.run(ImageWatch(folders, platform.images(), platform.adapters.clock).look(python))
    if console.is_json:
        console.data(check)
    else:
        words = f"{check.drifted} are not as installed" if check.drifted else "all as installed"
        console.line(f"{python}: {check.files} files, {words}. {check.digest}")
        for file in check.drift:
            console.line(drift_words(file))
        if check.drifted:
            console.note("Nothing is patched by hand: make the environment anew, then start the instances again.")
    return 1 if check.drifted else 0


RUN = {
    "backup": run_backup,
    "restore": run_restore,
    "pack": run_pack,
    "check-image": run_check_image,
    "metrics": run_metrics,
}
"""What each command does, with the data folder as third argument."""
