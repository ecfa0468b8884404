"""Packages inside a real sandbox: pip in a cell gets them through the platform, and nothing else gets out."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from doubles.package_index import PackageIndex, open_package_index
from e2e.jupyter import run_cell
from e2e.outside import Outside, needs_everything
from e2e.processes import is_alive, wait_until
from infra.local_place import needs_sandbox

pytestmark = [*needs_everything, needs_sandbox]

RUN = """
import subprocess, sys
def run(*words):
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout + done.stderr
"""

WAYS_OUT = """
import errno, json, os, socket
def tried(way):
    try:
        return "OUT " + str(way())
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, type(error).__name__)
def connect(family, kind, address):
    with socket.socket(family, kind) as one:
        one.settimeout(2)
        one.connect(address)
        if kind == socket.SOCK_DGRAM:
            one.send(b"x")
            one.recv(1)
        return "connected"
def through(first):
    with socket.create_connection(("127.0.0.1", 3141), 5) as one:
        one.sendall(first.encode() + b"\\r\\nHost: 127.0.0.1:3141\\r\\nConnection: close\\r\\n\\r\\n")
        return one.recv(100).split(b"\\r\\n")[0].decode()
TCP, UDP, V4, V6, UNIX = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.AF_INET, socket.AF_INET6, socket.AF_UNIX
print(json.dumps({
    "the platform's port": tried(lambda: connect(V4, TCP, ("127.0.0.1", PLATFORM))),
    "the index itself": tried(lambda: connect(V4, TCP, ("127.0.0.1", INDEX))),
    "this machine's address": tried(lambda: connect(V4, TCP, ("HOST", PLATFORM))),
    "the internet": tried(lambda: connect(V4, TCP, ("1.1.1.1", 443))),
    "the internet by IPv6": tried(lambda: connect(V6, TCP, ("2606:4700:4700::1111", 443))),
    "name service by UDP": tried(lambda: connect(V4, UDP, ("8.8.8.8", 53))),
    "a broadcast": tried(lambda: connect(V4, UDP, ("192.168.255.255", 53))),
    "metadata of a cloud": tried(lambda: connect(V4, TCP, ("169.254.169.254", 80))),
    "a name": tried(lambda: socket.getaddrinfo("pypi.org", 443)),
    "an abstract socket": tried(lambda: connect(UNIX, TCP, "\\0ABSTRACT")),
    "a raw socket": tried(lambda: socket.socket(V4, socket.SOCK_RAW, socket.IPPROTO_ICMP)),
    "a packet socket": tried(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)),
    "interfaces": sorted(name for _, name in socket.if_nameindex()),
    "CONNECT": through("CONNECT pypi.org:443 HTTP/1.1"),
    "another host": through("GET http://pypi.org/simple/six/ HTTP/1.1"),
}))
"""


@pytest.fixture(scope="module")
def index() -> Iterator[PackageIndex]:
    with open_package_index() as opened:
        opened.add("tiny-scan", "1.0")
        opened.add("tiny-scan", "2.0")
        opened.add("other", "1.0")
        yield opened


def apply_packages(outside: Outside, packages: dict[str, Any], tier: int) -> None:
    """Change the running cluster's packages, and the tier of its dataset, as an administrator does."""
    told = outside.ask("GET", "/v1/admin/cluster", "grace")
    cluster = told["cluster"] | {"packages": packages}
    cluster["datasets"] = [one | {"tier": tier} for one in cluster["datasets"]]
    outside.ask("POST", "/v1/admin/cluster/apply", "grace", json={"cluster": cluster, "base": told["revision"]})


def recorded(outside: Outside, instance_id: str) -> list[tuple[str, str, str]]:
    """Return outcome, package and file of what was recorded of packages."""
    facts = [one for one in outside.audit(instance_id) if one["tag"].startswith("package:get:")]
    return [
        (one["tag"].rpartition(":")[2], one["detail"].get("package", ""), one["detail"].get("file", ""))
        for one in facts
    ]


def test_pip_in_a_cell_installs_what_the_index_has_and_all_other_ways_out_are_shut(
    outside: Outside, index: PackageIndex
) -> None:
    apply_packages(outside, {"index": f"{index.url}/simple"}, tier=0)
    instance_id = outside.run_one("open")["id"]
    code = (
        f"{RUN}print(*run(sys.executable, '-m', 'pip', 'install', '--target', '/home/ada/packages', 'tiny-scan<2'))\n"
    )
    said = run_cell(outside, "open", f"{code}import tiny_scan; print('version', tiny_scan.__version__)")
    assert said.startswith("0 "), said
    assert said.endswith("version 1.0"), said
    said = run_cell(outside, "open", f"{RUN}print(*run(sys.executable, '-m', 'pip', 'install', '--prefix',"
        " '/home/ada/.local', 'other'))\nimport other; print('version', other.__version__)")  # fmt: skip
    assert said.endswith("version 1.0"), said
    in_a_venv = (
        f"{RUN}print(run(sys.executable, '-m', 'venv', '/home/ada/env')[0],"
        " *run('/home/ada/env/bin/python', '-m', 'pip', 'install', 'tiny-scan'))"
    )
    said = run_cell(outside, "open", in_a_venv)
    assert said.startswith("0 0 ") or "already satisfied" in said, said
    served = [one for one in recorded(outside, instance_id) if one[0] == "served"]
    assert served[:2] == [
        ("served", "tiny-scan", "tiny_scan-1.0-py3-none-any.whl"),
        ("served", "other", "other-1.0-py3-none-any.whl"),
    ]

    with socket.socket(socket.AF_UNIX) as abstract, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        abstract.bind(f"\0nightingale-{instance_id}")
        abstract.listen()
        try:
            asking.connect(("192.0.2.1", 9))
            host = asking.getsockname()[0]
        except OSError:  # this machine has no network itself
            host = "192.0.2.1"
        code = (
            WAYS_OUT.replace("ABSTRACT", f"nightingale-{instance_id}")
            .replace("PLATFORM", outside.url.rpartition(":")[2])
            .replace("INDEX", index.url.rpartition(":")[2])
            .replace("HOST", host)
        )
        found = json.loads(run_cell(outside, "open", code))
    assert found.pop("interfaces") == ["lo"]
    assert found.pop("CONNECT").startswith("HTTP/1.1 405 ")
    assert found.pop("another host").startswith("HTTP/1.1 400 ")
    assert not {way: answer for way, answer in found.items() if answer.startswith("OUT")}
    assert (found["the internet"], found["an abstract socket"]) == ("ENETUNREACH", "ECONNREFUSED")
    outside.act("open", "delete")


def test_a_name_that_is_not_on_the_list_is_refused_in_words_and_recorded(outside: Outside, index: PackageIndex) -> None:
    apply_packages(
        outside, {"index": f"{index.url}/simple", "allow": [{"name": "tiny-scan", "versions": "<2"}]}, tier=1
    )
    instance_id = outside.run_one("listed")["id"]
    install = f"{RUN}print(*run(sys.executable, '-m', 'pip', 'install', '--target', '/home/ada/packages', NAME))"
    said = run_cell(outside, "listed", install.replace("NAME", "'other'"))
    assert said.startswith("1 ")
    assert "other is not on the allow list of heartscan" in said
    assert run_cell(outside, "listed", install.replace("NAME", "'tiny-scan'")).startswith("0 ")
    assert ("served", "tiny-scan", "tiny_scan-1.0-py3-none-any.whl") in recorded(outside, instance_id)
    assert ("refused", "other", "") in recorded(outside, instance_id)
    old = outside.pid("index")
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: (pid := outside.pid("index")) not in {0, old} and is_alive(pid), 40, "another index")
    again = install.replace("NAME", "'--no-cache-dir', '--upgrade', 'tiny-scan'")
    wait_until(lambda: run_cell(outside, "listed", again).startswith("0 "), 60, "packages from another index")
    outside.act("listed", "delete")
