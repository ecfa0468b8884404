"""The running container: what it can do, what it cannot, and what its health check says."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from notebook_image.fake_platform import FakePlatform
from notebook_image.image.containers import UID, ContainerInstance, inspect_image, podman

pytestmark = pytest.mark.slow

MOST_BYTES = 1_100_000_000
"""The image of November 2026 has 0.94 GB; a library more should be a decision."""


async def ask(container: ContainerInstance, source: str) -> Any:
    """Run `source` in a kernel; return the value of its `answer`."""
    return json.loads(await container.run_cell(f"import json\n{source}\nprint(json.dumps(answer))"))


async def test_jupyter_answers_over_its_socket_with_the_token_only(container: ContainerInstance) -> None:
    async with container.program() as program, program.get("/api/status") as answer:
        assert answer.status == 200
    async with container.browser() as browser, browser.get("/api/status") as answer:
        assert answer.status == 403
    async with container.program() as program, program.get("/api/me") as answer:
        assert (await answer.json())["identity"]["username"] == "ada"


async def test_each_hook_said_in_order_what_it_found(container: ContainerInstance) -> None:
    deadline = time.monotonic() + 30
    while "50-report" not in container.hooks() and time.monotonic() < deadline:
        container.inside("sleep", "0.1")  # a line in a log has no event to await from outside
    said = container.hooks()
    assert list(said) == ["10-mount-dataset", "20-observer", "30-jupyter-config", "40-jupyter", "50-report"]
    assert said["10-mount-dataset"]["words"] == "mounted read-only before this container started: ct-chest"
    assert said["20-observer"]["words"].startswith("reads are watched by fanotify, from outside")
    assert "tier 1: terminals on" in said["30-jupyter-config"]["words"]
    assert said["50-report"]["words"].startswith("ready ")
    assert container.token not in container.log_text()


async def test_the_person_has_their_own_name_and_uid_and_no_group_besides(container: ContainerInstance) -> None:
    source = """
import grp, os, pathlib, pwd
account = pwd.getpwuid(os.getuid())
answer = [os.getresuid(), os.getresgid(), os.getgroups(), account.pw_name, account.pw_dir,
          grp.getgrgid(os.getgid()).gr_name, str(pathlib.Path.home()), os.getcwd(), len(pwd.getpwall())]"""
    ids = [UID] * 3
    assert await ask(container, source) == [ids, ids, [UID], "ada", "/home/ada", "ada", "/home/ada", "/home/ada", 2]
    assert (container.home / ".ipython").stat().st_uid == UID


async def test_it_has_no_capability_and_can_get_none(container: ContainerInstance) -> None:
    source = """
import pathlib
lines = pathlib.Path("/proc/self/status").read_text().splitlines()
answer = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)
          if name.startswith("Cap") or name in ("NoNewPrivs", "Seccomp")}"""
    nothing = "0000000000000000"
    capabilities = dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), nothing)
    assert await ask(container, source) == {**capabilities, "NoNewPrivs": "1", "Seccomp": "2"}
    assert container.inside("find", "/", "-xdev", "-type", "f", "-perm", "/6000").stdout == ""


async def test_nothing_of_the_image_and_no_dataset_can_be_written(container: ContainerInstance) -> None:
    source = """
import ctypes, errno, os, pathlib
folders = ["/", "/etc", "/usr/bin", "/opt/nightingale/hooks", "/data", "/data/ct-chest", "/run/nightingale-secret"]
answer = {"read-only": [bool(os.statvfs(folder).f_flag & os.ST_RDONLY) for folder in folders], "refused": []}
for folder in folders:
    try:
        pathlib.Path(folder, "mine").touch()
    except OSError as error:
        answer["refused"].append(errno.errorcode[error.errno])
library = ctypes.CDLL(None, use_errno=True)
remounts = [library.mount(None, folder.encode(), None, 32 | 4096, None) for folder in ("/", "/data/ct-chest")]
answer["remounts"] = [remounts, errno.errorcode[ctypes.get_errno()]]
answer["scan"] = pathlib.Path("/data/ct-chest/scan.txt").read_text()
pathlib.Path("mine").write_text("kept"), pathlib.Path("/tmp/mine").write_text("for now")"""
    answer = await ask(container, source)
    assert answer["read-only"] == [True] * 7
    assert set(answer["refused"]) <= {"EROFS", "EACCES"}
    assert len(answer["refused"]) == 7
    assert answer["remounts"] == [[-1, -1], "EPERM"]
    assert answer["scan"] == "a scan"
    assert (container.home / "mine").read_text() == "kept"


async def test_its_only_ways_out_are_two_sockets(container: ContainerInstance) -> None:
    source = """
import errno, os, pathlib, socket, stat
def refusal(family, address):
    with socket.socket(family) as tried:
        tried.settimeout(5)
        try:
            tried.connect(address)
        except OSError as error:
            return errno.errorcode[error.errno]
    return "connected"
with socket.create_server(("127.0.0.1", 0)) as listener:
    loopback = refusal(socket.AF_INET, listener.getsockname())
found = [str(path) for folder in ("/run", "/tmp", "/var", "/dev", "/home") for path in pathlib.Path(folder).rglob("*")
         if "/nightingale-i-" not in str(path) and stat.S_ISSOCK(path.lstat().st_mode)]
with socket.socket(socket.AF_UNIX) as platform:
    platform.connect("/run/nightingale/platform.sock")
    platform.sendall(b"GET /v1/instance HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    said = platform.recv(12).decode()
answer = [sorted(os.listdir("/sys/class/net")), loopback, refusal(socket.AF_INET, ("192.0.2.1", 443)),
          refusal(socket.AF_INET6, ("2001:db8::1", 443)), sorted(found), said]"""
    platform_socket = container.run / "platform.sock"
    async with FakePlatform().listen(platform_socket):
        platform_socket.chmod(0o666)
        answer = await ask(container, source)
    sockets = ["/run/nightingale/jupyter.sock", "/run/nightingale/platform.sock"]
    assert answer == [["lo"], "connected", "ENETUNREACH", "ENETUNREACH", sockets, "HTTP/1.1 404"]


async def test_the_libraries_of_the_field_are_there_and_work(container: ContainerInstance) -> None:
    source = """
import io, mne, nibabel, numpy, pandas, pydicom, scipy.fft, sklearn.linear_model
import matplotlib; matplotlib.use("agg"); import matplotlib.pyplot as plots
from pydicom.data import get_testdata_file
signal = numpy.sin(2 * numpy.pi * 10 * numpy.arange(1000) / 250)
peak = float(scipy.fft.rfftfreq(1000, 1 / 250)[abs(scipy.fft.rfft(signal)).argmax()])
raw = mne.io.RawArray(signal[None], mne.create_info(["Cz"], 250.0, "eeg", verbose=False), verbose=False)
low = float(abs(raw.filter(None, 5, verbose=False).get_data()).max())
picture = io.BytesIO(); plots.plot(signal); plots.savefig(picture, format="png")
model = sklearn.linear_model.LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0])
scan = nibabel.Nifti1Image(numpy.ones((2, 3, 4), dtype="int16"), numpy.eye(4)); scan.to_filename("scan.nii.gz")
answer = [peak, low < 0.5, picture.getvalue()[:4].hex(), round(float(model.coef_[0]), 6),
          list(nibabel.load("scan.nii.gz").shape), pydicom.dcmread(get_testdata_file("CT_small.dcm")).Modality,
          int(pandas.DataFrame({"a": [1, 2]}).a.sum())]"""
    assert await ask(container, source) == [10.0, True, "89504e47", 2.0, [2, 3, 4], "CT", 3]


async def test_there_is_no_compiler_and_no_way_to_change_what_is_installed(container: ContainerInstance) -> None:
    assert container.inside("sh", "-c", "command -v cc gcc make ld").stdout == ""
    refused = container.inside("python", "-m", "pip", "uninstall", "--yes", "numpy")
    assert refused.returncode != 0
    assert container.inside("python", "-c", "import numpy").returncode == 0


async def test_the_guard_of_the_read_audit_is_in_the_image_and_runs(container: ContainerInstance) -> None:
    source = """
import pathlib, subprocess, nightingale_instance.audit as audit
guard = pathlib.Path(*audit.__path__, "nightingale-guard")
answer = [oct(guard.stat().st_mode), subprocess.run([guard], check=False, stderr=subprocess.PIPE, text=True).stderr]"""
    mode, said = await ask(container, source)
    assert mode == "0o100755"
    assert said.startswith("usage: nightingale-guard ")


async def test_the_health_check_is_true_and_false_with_its_reason_while_the_server_hangs(
    container: ContainerInstance,
) -> None:
    is_well, said = container.check_health()
    assert is_well, said
    assert said["words"].startswith("Jupyter answers: ")
    assert podman("healthcheck", "run", container.name).returncode == 0
    server = container.server_pid()
    try:
        assert container.inside("sh", "-c", f"kill -STOP {server}").returncode == 0
        is_well, said = container.check_health()
        assert not is_well
        assert (said["code"], said["words"]) == ("unreachable", "The Jupyter server did not answer within 5 s.")
        assert podman("healthcheck", "run", container.name).returncode == 1
    finally:
        container.inside("sh", "-c", f"kill -CONT {server}")
    await container.wait_until_ready()
    assert container.check_health()[0]


async def test_a_server_that_was_killed_ends_the_container_and_the_health_check_says_so(
    new_container: Callable[[], ContainerInstance],
) -> None:
    instance = new_container()
    process = instance.launch()
    await instance.wait_until_ready()
    assert instance.check_health()[0]
    instance.inside("sh", "-c", "kill -KILL -1")  # all but the first process
    assert process.wait(30) == 128 + 9
    assert instance.socket.is_socket()
    status, said = instance.refused(program=("/opt/nightingale/bin/python", "-I", "-m", "nightingale_instance.health"))
    assert (status, said["code"]) == (1, "jupyter_exited")
    assert said["words"] == "Nobody listens at /run/nightingale/jupyter.sock."


async def test_a_container_that_is_told_to_end_does_so_with_status_0_and_leaves_nothing(
    new_container: Callable[[], ContainerInstance],
) -> None:
    instance = new_container()
    instance.launch()
    await instance.wait_until_ready()
    assert instance.stop() == 0
    assert not instance.socket.exists()
    assert podman("container", "exists", instance.name).returncode == 1


async def test_what_is_laid_on_podman_holds_in_the_container(new_container: Callable[[], ContainerInstance]) -> None:
    """The launcher's filter of system calls, and datasets that are mounted where the launcher alone sees them."""
    instance = new_container()
    (instance.dataset / "scan.txt").unlink()
    lay = """
import os, subprocess, sys
from nightingale_build.launcher import mounts, system_calls
mounts.leave_the_machines_mounts()
subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,mode=755", "watched", sys.argv[1]], check=True)
system_calls.refuse_for_good()
os.execvp(sys.argv[2], sys.argv[2:])"""
    instance.launch(before=(sys.executable, "-c", lay, str(instance.dataset)))
    await instance.wait_until_ready()
    source = """
import ctypes, errno, mmap, os, pathlib
library = ctypes.CDLL(None, use_errno=True)
library.mmap.restype = library.mremap.restype = ctypes.c_void_p
library.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
library.mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
failed = ctypes.c_void_p(-1).value
page = library.mmap(None, 4096, mmap.PROT_READ, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
grown = library.mremap(page, 4096, 8192, 1)
answer = [page == failed, grown == failed, errno.errorcode[ctypes.get_errno()], os.listdir("/data/ct-chest"),
          "watched /data/ct-chest tmpfs ro" in pathlib.Path("/proc/mounts").read_text()]"""
    assert await ask(instance, source) == [False, True, "ENOMEM", [], True]
    assert not instance.dataset.is_mount()


@pytest.mark.parametrize(
    ("changes", "hook", "code"),
    [
        ({"mount": "rw"}, "10-mount-dataset", "dataset_unavailable"),
        ({"NIGHTINGALE_DATASETS": "ct-chest mr-head"}, "10-mount-dataset", "dataset_unavailable"),
        ({"NIGHTINGALE_OBSERVER": ""}, "20-observer", "observer_unavailable"),
        ({"left_open": "user"}, "30-jupyter-config", "jupyter_exited"),
        ({"left_open": "read-only"}, "30-jupyter-config", "sandbox_unavailable"),
        ({"left_open": "privileges"}, "30-jupyter-config", "sandbox_unavailable"),
        ({"NIGHTINGALE_PERSON": ""}, "30-jupyter-config", "jupyter_exited"),
    ],
)
def test_a_container_that_is_not_as_it_must_be_starts_no_jupyter_and_says_why(
    new_container: Callable[[], ContainerInstance], changes: dict[str, str], hook: str, code: str
) -> None:
    instance = new_container()
    status, said = instance.refused(**changes)
    assert (status, said["hook"], said["code"]) == (78, hook, code)
    assert said["words"]
    assert said["next_step"]
    assert not instance.socket.exists()


def test_the_image_is_named_by_its_files_and_its_size_is_a_decision(
    image: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert image is None
    found = inspect_image()
    labels = found["Labels"]
    assert re.fullmatch(r"[0-9a-f]{64}", labels["nightingale.inputs"])
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", found["Digest"])
    assert found["Config"]["User"] == "65534:65534"
    assert found["Size"] < MOST_BYTES
    said = json.dumps([found["Config"].get("Env"), found["History"], labels])
    assert [word for word in ("pip.conf", "PIP_", "proxy", "SSL_CERT") if word in said] == []
    with capsys.disabled():
        print(f"\nimage: {found['Size'] / 1e6:.0f} MB, id {found['Id']}, {found['Digest']}")  # noqa: T201 # for the log of a run
