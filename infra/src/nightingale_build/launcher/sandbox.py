"""The sandbox: bubblewrap, with the network cut and nothing of this machine visible but what Jupyter needs.

Two ways of the same picture. An ordinary user gets a user namespace. Root gets none: the owner's uid must be the real
one outside too, so setpriv gives up root inside, after the binds (a bind reaches an interpreter that lies under a
home folder of mode 0700, which the owner's uid could not).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nightingale.contract.build import LaunchSpec
from nightingale_build.launcher.folders import InstanceFolders
from nightingale_build.launcher.process_identity import boot_id
from nightingale_build.whole_files import write_whole

BUBBLEWRAP = "bubblewrap"
NONE = "none"

INSIDE_RUN = "/run/nightingale"
INSIDE_TOKEN = "/run/nightingale-secret/jupyter.token"  # noqa: S105 - the path of a token, not a token
INSIDE_INSTANCE_TOKEN = "/run/nightingale-secret/instance.token"  # noqa: S105 - same

INSIDE_PARENTS = ("/data", "/etc", "/etc/ssl", "/home", "/run", "/run/nightingale-secret")

SYSTEM_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
SYSTEM_FILES = (
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/etc/fonts",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/ssl/certs",
)

USER_UNSHARES = ("--unshare-all", "--cap-drop", "ALL")
ROOT_UNSHARES = ("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
# What setpriv needs to stop being root; it drops these three too.
ROOT_CAPABILITIES = (
    *("--cap-drop", "ALL"),
    *("--cap-add", "CAP_SETUID"),
    *("--cap-add", "CAP_SETGID"),
    *("--cap-add", "CAP_SETPCAP"),
)


@dataclass(frozen=True)
class SandboxProbe:
    """Whether a sandbox works here: `name` is None when it does not, and `why` says why."""

    name: str | None
    why: str


def probe_sandbox() -> SandboxProbe:
    """Return what a real attempt shows; it takes some 10 ms, so the caller keeps the answer."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return SandboxProbe(None, "bubblewrap (bwrap) is not installed; on Debian and Ubuntu: apt install bubblewrap")
    command = [bwrap, "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--die-with-parent"]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            return SandboxProbe(None, "setpriv (util-linux) is not installed, and Jupyter must not run as root")
        command += [*ROOT_UNSHARES, *ROOT_CAPABILITIES, "--", *drop_root(FIRST_PROBE_UID), "true"]
    else:
        command += [*USER_UNSHARES, "--", "true"]
    try:
        tried = subprocess.run(command, capture_output=True, check=False, timeout=10, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        return SandboxProbe(None, f"bubblewrap could not be tried: {error}")
    if tried.returncode != 0:
        said = tried.stderr.decode("utf-8", "replace").strip()
        return SandboxProbe(None, f"bubblewrap does not work here: {said or f'exit status {tried.returncode}'}")
    return SandboxProbe(BUBBLEWRAP, "")


def is_remembered(path: Path) -> bool:
    """Return whether a sandbox has worked here since the last boot, with this bwrap and this account.

    It spares each start some 15 ms. Should it work no longer, bwrap's own words are in the exit record.
    """
    try:
        return path.read_text(encoding="utf-8") == _circumstances() != ""
    except OSError:
        return False


def remember(path: Path) -> None:
    """Remember that a sandbox worked; a disk that cannot take it only costs the next start its time."""
    with contextlib.suppress(OSError):
        write_whole(path, _circumstances().encode())


def _circumstances() -> str:
    """Return what the answer depends on; empty where the boot has no name, so that nothing is remembered."""
    bwrap, boot = shutil.which("bwrap"), boot_id()
    if bwrap is None or not boot or (os.geteuid() == 0 and shutil.which("setpriv") is None):
        return ""
    file = Path(bwrap).stat()
    return f"{boot} {bwrap} {file.st_ino} {file.st_mtime_ns} {file.st_mode} {os.geteuid()}"


FIRST_PROBE_UID = 10_000
"""Any uid that is not root serves to try."""


def drop_root(uid: int) -> list[str]:
    """Return the command prefix that gives up root for `uid` for good."""
    return [
        "setpriv",
        f"--reuid={uid}",
        f"--regid={uid}",
        "--clear-groups",
        "--inh-caps=-all",
        "--ambient-caps=-all",
        "--bounding-set=-all",
        "--no-new-privs",
        "--",
    ]


def bubblewrap_command(
    spec: LaunchSpec, folders: InstanceFolders, uid: int | None, info_fd: int, sources: Mapping[str, str]
) -> list[str]:
    """Return the command that runs what is appended to it inside the sandbox.

    `uid` is the owner's when root starts it, else None. bwrap tells the sandbox's first process on `info_fd`. `sources`
    names what is mounted in place of a dataset's own folder: the watched file system of it.
    """
    home = f"/home/{spec.owner}"
    unshares = USER_UNSHARES if uid is None else (*ROOT_UNSHARES, *ROOT_CAPABILITIES)
    size = ("--size", str(spec.memory_mib * 1024 * 1024))
    command = ["bwrap", *unshares, "--die-with-parent", "--new-session", "--info-fd", str(info_fd)]
    command += ["--hostname", spec.name]
    # First, or they would hide what is bound under them.
    command += [*size, "--perms", "1777", "--tmpfs", "/tmp", "--proc", "/proc", "--dev", "/dev"]  # noqa: S108 - inside
    command += [*size, "--perms", "1777", "--tmpfs", "/dev/shm"]  # noqa: S108 - the sandbox's own
    shown = environment_folders(Path(spec.python))
    # Else bwrap makes a missing parent as strict as what is bound there, and the owner could not pass it.
    parents = [str(above) for folder in shown for above in reversed(list(folder.parents)[:-1])]
    for parent in dict.fromkeys([*parents, *INSIDE_PARENTS]):
        command += ["--dir", parent]
    command += _system()
    for folder in shown:
        command += ["--ro-bind", str(folder.resolve()), str(folder)]
    command += _masks(spec, folders, (Path("/usr"), *shown))
    for name in ("passwd", "group", "hosts", "nsswitch.conf"):
        command += ["--ro-bind", str(folders.etc / name), f"/etc/{name}"]
    for mount in spec.datasets:
        command += ["--ro-bind", sources.get(mount.dataset, mount.source), f"/data/{mount.dataset}"]
    command += ["--bind", spec.home_dir, home]
    command += ["--bind", str(folders.run), INSIDE_RUN, "--ro-bind", str(folders.token), INSIDE_TOKEN]
    command += ["--ro-bind", str(folders.instance_token), INSIDE_INSTANCE_TOKEN]
    # The picture is complete: even its empty places can no longer be written.
    command += ["--remount-ro", "/"]
    if uid is None:
        return [*command, "--chdir", home, "--"]
    # bwrap's root has no capability left to enter the owner's home: the owner does it.
    return [*command, "--chdir", "/", "--", *drop_root(uid), "env", "-C", home, f"PWD={home}"]


def _system() -> list[str]:
    """Return the binds of the operating system's programs and libraries, read-only."""
    command = ["--ro-bind", "/usr", "/usr"]
    for name in SYSTEM_FOLDERS:
        path = Path("/") / name
        if path.is_symlink():
            command += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            command += ["--ro-bind", str(path), str(path)]
    for name in SYSTEM_FILES:
        command += ["--ro-bind-try", name, name]
    return command


def environment_folders(python: Path) -> list[Path]:
    """Return the folders that make up the environment of the interpreter `python`, without those under /usr.

    Its own prefix, the prefix of the Python it was made from (`home` in pyvenv.cfg), where that one's links lead, and
    the source folders of packages that were installed in place (absolute lines of .pth files).
    """
    prefix = python.parent.parent
    found = [prefix]
    settings = prefix / "pyvenv.cfg"
    if settings.is_file():
        for line in settings.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition("=")
            if key.strip() == "home":
                found.append(Path(value.strip()).parent)
        for listed in sorted(prefix.glob("lib/python3*/site-packages/*.pth")):
            lines = listed.read_text(encoding="utf-8", errors="replace").splitlines()
            found += [Path(line) for line in lines if line.startswith("/") and Path(line).is_dir()]
    found.append(python.resolve().parent.parent)
    kept: list[Path] = []
    for folder in (path for seen in found for path in (seen, seen.resolve())):
        is_there = folder.is_dir() and folder not in (Path("/"), *kept)
        if is_there and not folder.is_relative_to("/usr"):
            kept.append(folder)
    return kept


def _masks(spec: LaunchSpec, folders: InstanceFolders, shown: tuple[Path, ...]) -> list[str]:
    """Return empty folders over the platform's own, where a folder shown would otherwise contain them."""
    command: list[str] = []
    for kept in {folders.root.resolve().parent, Path(spec.home_dir).resolve().parent}:
        data = kept.parent
        if any(data.is_relative_to(folder.resolve()) and data != folder for folder in shown):
            command += ["--tmpfs", str(data)]
    return command
