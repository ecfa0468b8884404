"""What a sandbox's filter of system calls refuses, and what it lets through."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from infra.local_place import needs_root
from nightingale_build.launcher.system_calls import is_known_machine, refusals

pytestmark = [
    pytest.mark.root,
    needs_root,
    pytest.mark.skipif(not is_known_machine(), reason="there is no filter for this kind of processor"),
]

TRIED = """
import ctypes, json, os, subprocess, sys, threading
from nightingale_build.launcher.system_calls import refuse_for_good

refuse_for_good()
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = libc.mremap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
FAILED = ctypes.c_void_p(-1).value
LARGE = 1 << 33
at = libc.mmap(None, LARGE, 3, 0x4022, -1, 0)


def error(result):
    return os.strerror(ctypes.get_errno()) if result in (-1, FAILED) else ""


seen = {
    "grow": error(libc.mremap(at, 8192, 12288, 1)),
    "grow past 4 GiB": error(libc.mremap(at, 4096, LARGE + 4096, 1)),
    "grow within the lower half": error(libc.mremap(at, LARGE, LARGE + 4096, 1)),
    "keep": error(libc.mremap(at, 8192, 8192, 1)),
    "shrink past 4 GiB": error(libc.mremap(at, LARGE, 8192, 1)),
    "shrink": error(libc.mremap(at, 8192, 4096, 1)),
    "grows down": error(libc.mmap(None, 4096, 3, 0x122, -1, 0)),
    "user namespace": error(libc.unshare(0x10000000)),
    "clone3": error(libc.syscall(435, None, 0)),
    "unshare nothing": error(libc.unshare(0)),
}
thread = threading.Thread(target=lambda: seen.update(thread="ran"))
thread.start()
thread.join()
text = bytearray(1 << 20)
text.extend(bytes(1 << 24))
seen["realloc"] = len(text)
seen["child"] = subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, text=True).stdout
seen["set off"] = libc.prctl(22, 0, 0, 0, 0)
print(json.dumps(seen))
"""


def test_mappings_cannot_grow_and_namespaces_of_users_cannot_be_made():
    done = subprocess.run([sys.executable, "-c", TRIED], capture_output=True, text=True, check=True, env=os.environ)
    assert json.loads(done.stdout) == {
        "grow": "Cannot allocate memory",
        "grow past 4 GiB": "Cannot allocate memory",
        "grow within the lower half": "Cannot allocate memory",
        "keep": "",
        "shrink past 4 GiB": "",
        "shrink": "",
        "grows down": "Invalid argument",
        "user namespace": "Operation not permitted",
        "clone3": "Function not implemented",
        "unshare nothing": "",
        "thread": "ran",
        "realloc": (1 << 20) + (1 << 24),
        "child": "1\n",
        "set off": -1,
    }


def test_both_machines_have_a_program_of_whole_instructions():
    for machine in ("x86_64", "aarch64"):
        program = refusals(machine)
        assert len(program) % 8 == 0
        for at in range(0, len(program), 8):
            if int.from_bytes(program[at : at + 2], sys.byteorder) & 0x07 == 0x05:  # a jump stays inside
                assert at // 8 + 1 + max(program[at + 2], program[at + 3]) < len(program) // 8
