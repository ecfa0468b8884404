"""Ways to take a dataset's content out, change it, or see what is not one's own, as code in a cell can try them.

Each runs inside an instance's sandbox as its owner. What returns was not refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_HELP = r"""
import json, os, socket, stat, subprocess

def run(*words):
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise PermissionError((done.stderr or done.stdout).strip()[-200:])
    return done.stdout[:200]

def reach(family, kind, address):
    with socket.socket(family, kind) as one:
        one.settimeout(2)
        one.connect(address)
        if kind == socket.SOCK_DGRAM:
            one.send(b"x")
        return "connected"

def ask(name, first, token=""):
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(10)
        one.connect(os.path.join(os.environ["NIGHTINGALE_RUN"], name))
        head = f"{first} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n"
        one.sendall(f"{head}Content-Length: 0\r\n\r\n".encode())
        status = int(one.recv(4096).split(b" ")[1])
    if status >= 400:
        raise PermissionError(f"answered {status}")
    return status

def own_token():
    with open(os.environ["NIGHTINGALE_INSTANCE_TOKEN_FILE"]) as file:
        return file.read().strip()

TCP, UDP, V4, V6, UNIX = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.AF_INET, socket.AF_INET6, socket.AF_UNIX
"""


@dataclass(frozen=True)
class InsideWay:
    """One attempt: an expression of Python, in which `told` holds what the check knows and a hostile person may guess.

    `record` is what the record of its refusal must hold in its words; None: nothing that could record it is reached.
    """

    what: str
    expression: str
    record: str | None = None


INSIDE: tuple[InsideWay, ...] = (
    # the dataset itself
    InsideWay("write into a file of the dataset", "open(data + '/ct.dcm', 'r+b')"),
    InsideWay("add a file to the dataset", "open(data + '/mine', 'wb')"),
    InsideWay("remove a file of the dataset", "os.remove(data + '/ct.dcm')"),
    InsideWay("rename a file of the dataset", "os.rename(data + '/ct.dcm', data + '/mine')"),
    InsideWay("change a file's mode", "os.chmod(data + '/ct.dcm', 0o777)"),
    InsideWay("link a file of the dataset into the home", "os.link(data + '/ct.dcm', os.path.expanduser('~/linked'))"),
    InsideWay("mount it anew, for writing", "run('mount', '-o', 'remount,rw', data)"),
    InsideWay("mount a folder over it", "run('mount', '-t', 'tmpfs', 'tmpfs', data)"),
    InsideWay("take its mount away", "run('umount', '-l', data)"),
    InsideWay("a mount namespace of one's own", "run('unshare', '-m', 'true')"),
    InsideWay("a user namespace of one's own", "run('unshare', '-rm', 'true')"),
    InsideWay("the namespaces of the first process", "run('nsenter', '-t', '1', '-m', 'true')"),
    InsideWay("a disk's device", "os.mknod('/tmp/disk', 0o600 | stat.S_IFBLK, os.makedev(7, 0))"),
    # over the network
    InsideWay("the internet, by TCP", "reach(V4, TCP, ('192.0.2.1', 443))"),
    InsideWay("the internet, by IPv6", "reach(V6, TCP, ('2001:db8::1', 443))"),
    InsideWay("a name server, by UDP", "reach(V4, UDP, ('192.0.2.1', 53))"),
    InsideWay("a name", "socket.getaddrinfo('example.com', 443)"),
    InsideWay("a broadcast", "reach(V4, UDP, ('192.168.255.255', 9))"),
    InsideWay("a cloud's metadata", "reach(V4, TCP, ('169.254.169.254', 80))"),
    InsideWay("a listener on this machine's loopback", "reach(V4, TCP, ('127.0.0.1', told['listener']))"),
    InsideWay("the platform's API on the loopback", "reach(V4, TCP, ('127.0.0.1', told['api']))"),
    InsideWay("the gateway on the loopback", "reach(V4, TCP, ('127.0.0.1', told['gateway']))"),
    InsideWay("an abstract socket of this machine", "reach(UNIX, TCP, chr(0) + told['abstract'])"),
    InsideWay("a raw socket", "socket.socket(V4, socket.SOCK_RAW, socket.IPPROTO_ICMP)"),
    InsideWay("a packet socket", "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)"),
    # what is not one's own
    InsideWay("the platform's folder", "os.listdir(told['root'])"),
    InsideWay("the store", "open(told['store'], 'rb')"),
    InsideWay("the operator's token", "open(told['root'] + '/secrets/operator.token')"),
    InsideWay("the audit log", "os.listdir(told['root'] + '/audit')"),
    InsideWay("the spool of reads", "os.listdir(told['own'] + '/reads')"),
    InsideWay("the shipper's token", "open(told['own'] + '/shipper.token')"),
    InsideWay("another instance's folder", "os.listdir(told['other'])"),
    InsideWay("another instance's server", "reach(UNIX, TCP, told['other'] + '/run/jupyter.sock')"),
    InsideWay("another instance's home", "os.listdir(told['home'])"),
    InsideWay("the dataset's folder behind the mount", "os.listdir(told['dataset'])"),
    InsideWay("the dataset's image", "open(told['dataset'] + '.ext4', 'rb')"),
    InsideWay("the first process's root", "os.listdir('/proc/1/root/')"),
    # through the two sockets that there are
    InsideWay("the project's instances, by the instance's own token", "ask('platform.sock', 'GET ' + told['path'], own_token())"),  # noqa: E501 - one line a way
    InsideWay("records of reads, made up", "ask('platform.sock', 'POST /v1/instance/reads', own_token())"),
    InsideWay("a package whose name carries data", "ask('packages.sock', 'GET /simple/marker-s001/')", "marker-s001"),
    InsideWay("a tunnel through the package index", "ask('packages.sock', 'CONNECT 192.0.2.1:443')", "CONNECT"),
    InsideWay("another host through the package index", "ask('packages.sock', 'GET http://192.0.2.1/')", "GET http:"),
    InsideWay("an upload to the package index", "ask('packages.sock', 'POST /simple/marker/')", "POST"),
)  # fmt: skip


def cell(dataset: str, told: Mapping[str, str | int], ways: Sequence[InsideWay] = INSIDE) -> str:
    """Return a cell that tries all of them and prints, as JSON, by `what`: why it was refused, null where it was not.

    Of `told`: `root` the platform's folder, `own` and `other` folders of instances, `home` of that other one, `dataset`
    the dataset's folder, `path` one of the API's, `listener`, `api` and `gateway` ports, `abstract` a socket's name.
    """
    lines = [_HELP, f"told = json.loads({json.dumps(dict(told))!r})", f"data = '/data/{dataset}'", "answers = {}"]
    for way in ways:
        lines += [
            "try:",
            f"    {way.expression}",
            f"    answers[{way.what!r}] = None",
            "except Exception as error:",
            f"    answers[{way.what!r}] = type(error).__name__ + ': ' + str(error)",
        ]
    return "\n".join([*lines, "print(json.dumps(answers))"])
