"""What an instance's Jupyter does and what it leaves out."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from .conftest import IMAGE_PYTHON, START_S, Instance

pytestmark = [pytest.mark.image, pytest.mark.slow]  # a real server

_RECORD_NETWORK = """
import os, sys
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        target = arguments[1] if event == "socket.connect" else arguments[0]
        if isinstance(target, tuple) or event.startswith("socket.get"):
            with open(os.environ["NETWORK_RECORD"], "a") as file:
                file.write(f"{event} {target}\\n")
sys.addaudithook(watch)
"""


def private_folder(instance: Instance) -> list[Path]:
    return list(Path("/tmp").glob(f"nightingale-{instance.environment['NIGHTINGALE_INSTANCE']}-*"))  # noqa: S108 # as made


def dicom(data: Path) -> Path:
    """Copy a DICOM file out of the image's pydicom package to where the dataset is mounted."""
    [source] = (IMAGE_PYTHON.parents[1] / "lib").glob("python3*/site-packages/pydicom/data/test_files/CT_small.dcm")
    (data / "demo").mkdir()
    return Path(shutil.copy(source, data / "demo" / "ct.dcm"))


async def test_a_cell_reads_a_dicom_file_of_the_dataset_and_no_network_is_touched(
    new_instance: Callable[[], Instance],
) -> None:
    instance = new_instance()
    dicom(instance.data)
    hooks = instance.folder / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(_RECORD_NETWORK)
    record = instance.folder / "network"
    instance.environment |= {"PYTHONPATH": str(hooks), "NETWORK_RECORD": str(record)}
    process = instance.launch()
    await instance.wait_until_ready()
    async with instance.program() as program:
        for path in ("/lab", "/lab/api/news", "/lab/api/update", "/lab/api/extensions", "/lab/api/licenses/"):
            async with program.get(path) as answer:
                assert answer.status == 200, path
    printed = await instance.run_cell(
        "import json, os, sys, pathlib, psutil, pydicom\n"
        "me = psutil.Process()\n"
        "inet = [c.laddr.ip for p in (me, me.parent()) for c in p.net_connections(kind='inet')]\n"
        "print(json.dumps({'shape': pydicom.dcmread('data/demo/ct.dcm').pixel_array.shape,\n"
        "    'home': os.environ['HOME'], 'cwd': os.getcwd(), 'python': sys.executable, 'path': os.environ['PATH'],\n"
        "    'inet': inet, 'expanded': str(pathlib.Path.home()), 'parent': me.parent().pid}))"
    )
    said = json.loads(printed)
    # ipykernel lets a cell's child processes print through one loopback port; nothing else of it is on a network.
    assert said.pop("inet") in ([], ["127.0.0.1"])
    assert said == {
        "shape": [128, 128],
        "home": str(instance.home),
        "cwd": str(instance.home),
        "python": str(IMAGE_PYTHON),
        "path": instance.environment["PATH"],
        "expanded": str(instance.home),
        "parent": process.pid,
    }
    assert not record.exists(), record.read_text()


@pytest.mark.parametrize("path", ["/terminals/1", "/lsp/status", "/api/shutdown", "/tree", "/nbclassic"])
async def test_what_an_instance_does_not_offer_is_not_there(jupyter: Instance, path: str) -> None:
    async with jupyter.program() as program:
        async with program.get(path) as answer:
            assert answer.status == 404
        async with program.post(path) as answer:
            assert answer.status in {404, 405}


async def test_extensions_cannot_be_installed(jupyter: Instance) -> None:
    request = {"cmd": "install", "extension_name": "jupyterlab-git"}
    async with jupyter.program() as program, program.post("/lab/api/extensions", json=request) as answer:
        assert answer.status >= 400 or (await answer.json()).get("status") == "error"
    assert "https://" not in jupyter.log_text()


@pytest.mark.parametrize("path", ["/api/contents/.hidden", "/files/.hidden", "/api/contents/.jupyter"])
async def test_hidden_files_are_not_served(jupyter: Instance, path: str) -> None:
    async with jupyter.program() as program:
        async with program.get(path) as answer:
            assert answer.status == 404
        async with program.get("/api/contents/note.txt") as answer:
            assert (await answer.json())["content"] == "seen"
        async with program.get("/api/contents") as answer:
            assert {entry["name"] for entry in (await answer.json())["content"]} == {"data", "note.txt"}


async def test_the_lab_page_offers_no_news_and_no_installs(jupyter: Instance) -> None:
    async with jupyter.program() as program, program.get("/lab") as answer:
        page = await answer.text()
    config = json.loads(page.split('id="jupyter-config-data" type="application/json">')[1].split("</script>")[0])
    assert {
        "@jupyterlab/apputils-extension:announcements",
        "@jupyterlab/extensionmanager-extension:plugin",
    } <= set(config["disabledExtensions"])
    assert config["terminalsAvailable"] is True
    assert config["token"] == ""
    assert config["quitButton"] is False
    assert config["buildCheck"] is False
    assert config["news"] == {"disabled": True}


async def test_files_leave_through_jupyter_below_tier_2(jupyter: Instance) -> None:
    async with jupyter.program() as program, program.get("/files/note.txt?download=1") as answer:
        assert (answer.status, await answer.text()) == (200, "seen")


async def test_no_file_leaves_through_jupyter_from_tier_2_on(new_instance: Callable[[], Instance]) -> None:
    instance = new_instance()
    instance.environment["NIGHTINGALE_TIER"] = "2"
    (instance.home / "note.txt").write_text("seen")
    (instance.home / "n.ipynb").write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    instance.launch()
    await instance.wait_until_ready()
    async with instance.program() as program:
        async with program.get("/files/note.txt?download=1") as answer:
            text = await answer.text()
            assert answer.status == 403
        async with program.head("/files/note.txt") as answer:
            assert answer.status == 403
        for path in ("/nbconvert/html/n.ipynb", "/view/note.txt"):
            async with program.get(path) as answer:
                assert answer.status == 404, path
        async with program.get("/api/contents/note.txt") as answer:
            assert answer.status == 200
    assert "released" in text
    assert "seen" not in text


async def test_files_of_the_server_are_private_and_the_token_is_in_none_of_them(jupyter: Instance) -> None:
    assert jupyter.process is not None
    assert stat.S_IMODE(jupyter.socket.stat().st_mode) == 0o600
    [private] = private_folder(jupyter)
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    written = [path for folder in (private, jupyter.home) for path in folder.rglob("*") if path.is_file()]
    assert private / "jupyter_server_config.json" in written
    for path in written:
        assert jupyter.token.encode() not in path.read_bytes(), path
    assert stat.S_IMODE((private / "jupyter_server_config.json").stat().st_mode) == 0o600
    process = psutil.Process(jupyter.process.pid)
    assert jupyter.token not in " ".join([*process.cmdline(), *process.environ().values()])


async def test_it_ends_when_asked_and_leaves_nothing_behind(new_instance: Callable[[], Instance]) -> None:
    instance = new_instance()
    temporary = instance.folder / "tmp"
    temporary.mkdir()
    instance.environment["TMPDIR"] = str(temporary)
    process = instance.launch()
    await instance.wait_until_ready()
    await instance.run_cell("1 + 1")
    assert private_folder(instance)
    assert instance.stop() == 0
    assert not private_folder(instance)
    assert not psutil.pid_exists(process.pid)
    assert list(temporary.iterdir()) == []
    assert not instance.socket.exists()


async def test_a_killed_server_starts_again_over_what_it_left(new_instance: Callable[[], Instance]) -> None:
    instance = new_instance()
    process = instance.launch()
    await instance.wait_until_ready()
    process.kill()
    process.wait()
    assert instance.socket.exists()
    assert len(private_folder(instance)) == 1
    instance.launch()
    await instance.wait_until_ready()
    assert len(private_folder(instance)) == 1


async def test_what_lies_in_the_home_changes_no_setting_of_the_server(new_instance: Callable[[], Instance]) -> None:
    instance = new_instance()
    (instance.home / ".jupyter").mkdir()
    loosened = "c.IdentityProvider.token = ''\nc.ServerApp.sock_mode = '0666'\nc.ContentsManager.allow_hidden = True\n"
    for name in ("jupyter_server_config.py", "jupyter_config.py", "jupyter_lab_config.py"):
        (instance.home / ".jupyter" / name).write_text(loosened)
    (instance.home / "json.py").write_text("raise SystemExit('not the one')")
    (instance.home / "data").write_text("my own file of that name")
    instance.launch()
    await instance.wait_until_ready()
    assert stat.S_IMODE(instance.socket.stat().st_mode) == 0o600
    async with instance.browser() as browser, browser.get("/api/status") as answer:
        assert answer.status == 403
    assert (instance.home / "data").read_text() == "my own file of that name"


async def test_every_log_line_carries_its_time_in_utc(jupyter: Instance) -> None:
    async with jupyter.program() as program, program.get("/lab/api/settings/none:none") as answer:
        assert answer.status == 404
    lines = [line for line in jupyter.log_text().splitlines() if not line.startswith("    ")]  # of a traceback
    assert len(lines) > 5
    for line in lines:
        assert re.match(r"\[[IWEC] \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (InstanceServer|LabApp)\] ", line), line


async def test_a_secret_in_a_traceback_is_hidden(new_instance: Callable[[], Instance]) -> None:
    instance = new_instance()
    instance.launch()
    await instance.wait_until_ready()
    # Jupyter logs the body it could not parse: whatever a handler writes, the formatter has the last word.
    async with instance.program() as program:
        async with program.post("/api/kernels", data=f'{{"name": "{instance.token}') as answer:
            assert answer.status == 400
        async with program.post("/api/kernels", json={"name": instance.token}) as answer:
            assert answer.status >= 400
    assert "[secret]" in instance.log_text()
    assert instance.token not in instance.log_text()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("NIGHTINGALE_HOME", None, "NIGHTINGALE_HOME is not set"),
        ("NIGHTINGALE_HOME", "/nonexistent", "is no folder"),
        ("NIGHTINGALE_RUN", "run", "must be an absolute path"),
        ("NIGHTINGALE_PERSON", "Ada; rm -rf", "NIGHTINGALE_PERSON is 'Ada; rm -rf'"),
        ("NIGHTINGALE_INSTANCE", "../x", "NIGHTINGALE_INSTANCE is '../x'"),
        ("NIGHTINGALE_TIER", "4", "NIGHTINGALE_TIER is '4'"),
        ("NIGHTINGALE_TOKEN_FILE", "/nonexistent", "token file /nonexistent cannot be read"),
    ],
)
def test_a_wrong_environment_is_named_and_nothing_starts(
    new_instance: Callable[[], Instance], name: str, value: str | None, words: str
) -> None:
    instance = new_instance()
    if value is None:
        del instance.environment[name]
    else:
        instance.environment[name] = value
    assert instance.launch().wait(timeout=15) == 78
    assert instance.log_text().startswith("error: ")
    assert words in instance.log_text()
    assert not instance.socket.exists()


@pytest.mark.parametrize(("mode", "content"), [(0o644, None), (0o600, "short"), (0o600, "two words " * 5)])
def test_a_token_file_that_is_open_or_odd_is_refused(
    new_instance: Callable[[], Instance], mode: int, content: str | None
) -> None:
    instance = new_instance()
    if content is not None:
        instance.token_file.write_text(content)
    instance.token_file.chmod(mode)
    assert instance.launch().wait(timeout=15) == 78
    log = instance.log_text()
    assert "Start the instance again" in log or "start the instance again" in log
    assert instance.token not in log


def test_a_socket_path_that_is_too_long_is_refused_with_its_length(new_instance: Callable[[], Instance]) -> None:
    instance = new_instance()
    deep = instance.folder / ("d" * 100)
    deep.mkdir()
    instance.environment["NIGHTINGALE_RUN"] = str(deep)
    assert instance.launch().wait(timeout=15) == 78
    assert "bytes; this system allows" in instance.log_text()


@pytest.fixture
def bwrap() -> str:
    found = shutil.which("bwrap")
    if found is None or subprocess.run([found, "--ro-bind", "/", "/", "true"], check=False).returncode:
        pytest.skip("no working bubblewrap: apt install bubblewrap")
    return found


@pytest.mark.sandbox
async def test_it_runs_with_everything_read_only_and_the_network_cut(
    new_instance: Callable[[], Instance], bwrap: str, image_python: Path
) -> None:
    instance = new_instance()
    dicom(instance.data)
    writable = [word for path in (instance.home, instance.run) for word in ("--bind", str(path), str(path))]
    # The environment again: a checkout under /tmp would be hidden by the sandbox's own.
    shown = (instance.data, instance.token_file, image_python.parents[1])
    fixed = [word for path in shown for word in ("--ro-bind", str(path), str(path))]
    base = ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"]  # noqa: S108 # the sandbox's own
    instance.launch([bwrap, *base, *writable, *fixed, "--unshare-all", "--die-with-parent"])
    await instance.wait_until_ready()
    async with instance.program() as program, program.get("/lab") as answer:
        assert answer.status == 200
    printed = await instance.run_cell("import pydicom; print(pydicom.dcmread('data/demo/ct.dcm').pixel_array.sum())")
    assert int(printed) > 0
    async with instance.program() as program:
        async with program.post("/api/terminals") as answer:
            name = (await answer.json())["name"]
        async with asyncio.timeout(START_S), program.ws_connect(f"/terminals/websocket/{name}") as terminal:
            await terminal.send_json(["stdin", "echo $((6*7))$USER\n"])
            while "42ada" not in json.loads((await terminal.receive()).data)[-1]:
                pass
    assert "Traceback" not in instance.log_text()
    assert "[E " not in instance.log_text()
