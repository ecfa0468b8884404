"""Podman in place of bubblewrap: the same closed picture around a container of the notebook image.

    launcher ── unshare ──┬─ podman ── conmon ── the container      a process namespace of its own:
                          └─ dies with the launcher                 when podman ends, however, the kernel ends all in it

Podman alone would leave the container running when it, its monitor or the launcher is killed; the data would then be
read with nobody watching. What the kernel cannot end is podman's own note of the container, which `--replace` at the
next start and `remove_container` at an end throw away.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from nightingale.contract.build import LaunchSpec
from nightingale_build.launcher import sandbox as sandboxes
from nightingale_build.launcher.launch import Launch, jupyter_environment
from nightingale_build.launcher.limits import MIB, OPEN_FILES, OURS, PROCESSES, Limit
from nightingale_build.launcher.orphans import MARK
from nightingale_build.launcher.process_identity import boot_id
from nightingale_build.whole_files import write_whole

PODMAN = "podman"

COMMAND = ("podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs")
"""Debian's crun and systemd's control groups are not to be had on every machine."""

WALLS = (
    "setpriv",
    "--pdeathsig",
    "KILL",
    "--",
    "unshare",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "--",
)
"""setpriv binds unshare's life to the launcher's, unshare podman's to its own; podman is the namespace's first process,
with which the kernel ends all others."""

INSIDE_TMP = "/tmp"  # noqa: S108 - the container's own

ASK_S = 20.0
"""Longest wait for podman to say or remove something; it takes a tenth of a second."""

NO_END_BY_SIGNAL = "unshare: sigprocmask unblock failed"
"""What unshare of util-linux 2.38 says, and ends with 1, where it should end by the signal that ended podman."""


class _Known(msgspec.Struct, frozen=True):
    """`instances/.container-<checksum of its name>`: what podman said of an image, as long as the stamp is this."""

    image: str
    stamp: str
    digest: str
    images_file: str


@dataclass(frozen=True)
class Found:
    """The container image of a start: its id, or why the instance runs from the environment instead."""

    digest: str | None
    why: str = ""


def find_image(spec: LaunchSpec) -> Found | None:
    """Return the container image that the instance is to run from, None where its image names none.

    Podman is asked once for each state of its store (some 0.2 s), then its answer is remembered until the next boot.
    """
    if spec.container is None:
        return None
    if why := _why_not(spec):
        return Found(None, why)
    memory = Path(spec.instance_dir).parent / f".container-{zlib.crc32(spec.container.encode()):08x}"
    with contextlib.suppress(OSError, msgspec.DecodeError):
        known = msgspec.json.decode(memory.read_bytes(), type=_Known)
        if known.image == spec.container and known.stamp == _stamp(known.images_file) != "":
            return Found(known.digest)
    try:
        return _asked(spec.container, memory)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Found(None, f"Podman could not be asked: {error}.")


def _asked(image: str, memory: Path) -> Found:
    """Return what podman says of the image, and remember it. Raises OSError, subprocess.TimeoutExpired."""
    root = _ask("info", "--format", "{{.Store.GraphDriverName}} {{.Store.GraphRoot}}")
    driver, _, folder = root.stdout.strip().partition(" ")
    images_file = f"{folder}/{driver}-images/images.json"
    stamp = _stamp(images_file)  # before the question: what changes meanwhile is asked again
    asked = _ask("image", "inspect", "--format", "{{.Id}}", image)
    if root.returncode != 0 or asked.returncode != 0:
        said = (asked.stderr.strip() or root.stderr.strip()).splitlines()
        words = said[-1] if said else f"it ended with status {asked.returncode or root.returncode}"
        return Found(None, f"Podman has no image {image} (./run image builds it): {words}.")
    digest = f"sha256:{asked.stdout.strip().removeprefix('sha256:')}"
    if stamp:
        with contextlib.suppress(OSError):  # a full disk costs the next start its time, no more
            write_whole(memory, msgspec.json.encode(_Known(image, stamp, digest, images_file)))
    return Found(digest)


def _why_not(spec: LaunchSpec) -> str:
    """Return why no container can be started here, whatever podman's store holds; empty when one can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "Containers are started where the platform runs as root on Linux."
    for program, package in (
        ("podman", "podman"),
        ("runc", "runc"),
        ("unshare", "util-linux"),
        ("setpriv", "util-linux"),
    ):
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian, Ubuntu: apt install {package})."
    if any(":" in path for path in (spec.instance_dir, spec.home_dir, *(mount.source for mount in spec.datasets))):
        return "Podman cannot mount from a path with a colon in it."
    return ""


def _stamp(images_file: str) -> str:
    """Return what the answer depends on; empty where it cannot be told, so that nothing is remembered."""
    podman, boot = shutil.which("podman"), boot_id()
    if podman is None or not boot:
        return ""
    try:
        program, images = Path(podman).stat(), Path(images_file).stat()
    except OSError:
        return ""
    return f"{boot} {podman} {program.st_ino} {program.st_mtime_ns} {images.st_ino} {images.st_mtime_ns}"


def limit_of(spec: LaunchSpec, found: Found) -> Limit:
    """Return, to be shown beside the limits, what the instance runs from, and why that is not its container."""
    enforced_by, why = (PODMAN, "") if found.digest else (None, f"{found.why} It runs from the environment.")
    return {"resource": "container", "limit": spec.container, "enforced_by": enforced_by, "why": why}


def own_environment(instance_id: str) -> dict[str, str]:
    """Return podman's own environment; by the mark it is found when it is to be ended."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        MARK: instance_id,
    }


def container_command(launch: Launch, sources: Mapping[str, str], observer: str | None) -> list[str]:
    """Return the command that runs the container in the foreground, and ends with its status.

    `sources` as for bubblewrap_command; `observer` is what watches the datasets, None where nothing does.
    """
    spec, folders = launch.spec, launch.folders
    uid, home, size = launch.uid, f"/home/{spec.owner}", f"{spec.memory_mib}m"
    command = [*WALLS, *COMMAND, "run", "--rm", "--replace", "--pull", "never", "--name", spec.instance_id]
    command += ["--log-driver", "none", "--no-healthcheck"]  # the platform asks Jupyter itself, each second
    command += ["--user", f"{uid}:{uid}", "--cap-drop", "all", "--security-opt", "no-new-privileges"]
    command += ["--read-only", "--read-only-tmpfs=false", "--network", "none", "--hostname", spec.name]
    command += ["--cgroupns", "private", "--http-proxy=false"]
    command += ["--workdir", home, "--shm-size", size, "--tmpfs", f"{INSIDE_TMP}:rw,nosuid,nodev,mode=1777,size={size}"]
    # Below the instance's own group, which holds its size. Podman and its monitor stay outside: they are not its own.
    command += ["--cgroups", "no-conmon", "--cgroup-parent", f"/{OURS}/{spec.instance_id}"]
    command += ["--pids-limit", str(PROCESSES)]
    if launch.plan.cpus:
        command += ["--cpuset-cpus", ",".join(map(str, launch.plan.cpus))]
    for name, kind, wanted in _limits(spec):
        _, hard = resource.getrlimit(kind)
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        command += ["--ulimit", f"{name}={limit}:{limit}"]
    volumes = [(str(folders.run), sandboxes.INSIDE_RUN, "rw"), (spec.home_dir, home, "rw")]
    volumes += [(str(folders.token), sandboxes.INSIDE_TOKEN, "ro")]
    volumes += [(str(folders.instance_token), sandboxes.INSIDE_INSTANCE_TOKEN, "ro")]
    volumes += [
        (str(folders.etc / name), f"/etc/{name}", "ro") for name in ("passwd", "group", "hosts", "nsswitch.conf")
    ]
    volumes += [("/dev/null", "/etc/resolv.conf", "ro")]  # the machine's own name servers are no business of it
    volumes += [(sources.get(mount.dataset, mount.source), f"/data/{mount.dataset}", "ro") for mount in spec.datasets]
    command += [word for source, inside, way in volumes for word in ("--volume", f"{source}:{inside}:{way}")]
    environment = jupyter_environment(launch)
    del environment["PATH"]  # the image has its own
    environment["NIGHTINGALE_DATASETS"] = " ".join(mount.dataset for mount in spec.datasets)
    if observer is not None:
        environment["NIGHTINGALE_OBSERVER"] = observer
    command += [word for name, value in environment.items() for word in ("--env", f"{name}={value}")]
    return [*command, (launch.image_digest or "").removeprefix("sha256:")]


def _limits(spec: LaunchSpec) -> tuple[tuple[str, int, int], ...]:
    """Return the limits of each process, as `LimitPlan.apply` sets them: podman's names, the kernel's, values."""
    return (
        ("core", resource.RLIMIT_CORE, 0),
        ("nofile", resource.RLIMIT_NOFILE, OPEN_FILES),
        ("nproc", resource.RLIMIT_NPROC, PROCESSES),
        ("data", resource.RLIMIT_DATA, spec.memory_mib * MIB),
    )


def children(pid: int) -> dict[int, str]:
    """Return the children of a process by pid, with the names of their programs."""
    found = {}
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
            with contextlib.suppress(OSError):
                found[int(child)] = Path(f"/proc/{child}/comm").read_text(encoding="utf-8", errors="replace").strip()
    return found


def status_of(status: int, last_lines: tuple[str, ...]) -> int:
    """Return how podman ended, of which unshare's `status` tells: an exit code, or a signal as its negative number."""
    is_hidden = status == 1 and bool(last_lines) and last_lines[-1].startswith(NO_END_BY_SIGNAL)
    return -signal.SIGKILL if is_hidden else status


def podman_of(pid: int) -> int | None:
    """Return the pid of podman itself, below the `unshare` with this pid; None before it is there."""
    return next((child for child, name in children(pid).items() if name == "podman"), None)


def monitor_of(pid: int) -> int | None:
    """Return a descriptor that can be read once the container's monitor has ended; None before there is one.

    Without it podman waits forever, and nobody takes the container's output.
    """
    podman = podman_of(pid)
    conmon = next((child for child, name in children(podman or 0).items() if name == "conmon"), None)
    if conmon is None:
        return None
    try:
        return os.pidfd_open(conmon)
    except OSError:
        return None


def is_container_alive(pid: int) -> bool:
    """Return whether the container whose monitor has ended goes on: podman has inherited its first process."""
    for child in children(podman_of(pid) or 0):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{child}/status").read_text(encoding="utf-8", errors="replace").splitlines()
            status = dict(line.split(":", 1) for line in lines if ":" in line)
            if status["State"].split()[0] != "Z" and status["Uid"].split()[0] != "0":
                return True
    return False


def remove_container(instance_id: str) -> str:
    """Throw away podman's note of the instance's container, and the container; return why that failed, or nothing.

    The note has numbers of processes that have ended with their namespace. In a namespace of its own, podman can take
    no other process of this machine for one of them.
    """
    try:
        done = _ask("rm", "--force", "--ignore", "--time", "0", instance_id, walls=WALLS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"podman could not remove the container of {instance_id}: {error}"
    said = done.stderr.strip()
    return "" if done.returncode == 0 else f"podman could not remove the container of {instance_id}: {said}"


def _ask(*words: str, walls: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run podman; raises OSError, subprocess.TimeoutExpired."""
    return subprocess.run(
        [*walls, *COMMAND, *words],
        env={name: value for name, value in own_environment("").items() if name != MARK},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=ASK_S,
        check=False,
    )
