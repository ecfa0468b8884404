"""Calls of the kernel that are refused in a sandbox, because data could be read by them that the read audit never sees.

A kernel that asks before each read asks about a mapping when it is made. What a mapping becomes later it does not ask:

- mremap(2) makes one larger, and older kernels let one with MAP_GROWSDOWN grow by itself: both reach further into the
  file. Growing is refused as if there were no memory, upon which realloc(3) of every C library copies.
- In a user namespace of one's own, an overlay can be mounted over a dataset, and other machinery of the kernel that
  root alone could reach is one bug away.

It is a filter in classic BPF (seccomp(2)), laid by root, who needs no other permission; it cannot be taken off.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Sequence

_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EPERM, _ENOMEM, _EINVAL, _ENOSYS = 1, 12, 22, 38

_LOAD, _COMPARE_EQUAL, _COMPARE_GREATER, _COMPARE_GREATER_X, _COMPARE_BITS = 0x20, 0x15, 0x25, 0x2D, 0x45
_RETURN, _STORE, _LOAD_X_MEMORY, _COMPARE_EQUAL_X = 0x06, 0x02, 0x61, 0x1D
_CLONE_NEWUSER = 0x10000000
_MAP_GROWSDOWN = 0x100
_X32_BIT = 0x40000000

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2

_AT_NUMBER, _AT_MACHINE, _AT_ARGUMENTS = 0, 4, 16

_MACHINES = {
    # audit machine, then the numbers of mmap, mremap, clone, unshare, clone3
    "x86_64": (0xC000003E, 9, 25, 56, 272, 435),
    "aarch64": (0xC00000B7, 222, 216, 220, 97, 435),
}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def is_known_machine() -> bool:
    """Return whether there is a filter for this kind of processor."""
    return platform.machine() in _MACHINES


def refusals(machine: str) -> bytes:
    """Return the filter's program for a machine (`x86_64`, `aarch64`), 8 bytes each instruction. Raises KeyError."""
    audit_machine, mmap, mremap, clone, unshare, clone3 = _MACHINES[machine]
    blocks = [
        # Calls in another machine's numbering (32 bits) are not there.
        [(_LOAD, 0, 0, _AT_MACHINE), (_COMPARE_EQUAL, 1, 0, audit_machine), _refuse(_ENOSYS)],
        [(_LOAD, 0, 0, _AT_NUMBER), (_COMPARE_BITS, 0, 1, _X32_BIT), _refuse(_ENOSYS)],
        # Its flags lie where a filter cannot look; C libraries take clone then.
        _of(clone3, [_refuse(_ENOSYS)]),
        _of(clone, [_low(0), (_COMPARE_BITS, 0, 1, _CLONE_NEWUSER), _refuse(_EPERM)]),
        _of(unshare, [_low(0), (_COMPARE_BITS, 0, 1, _CLONE_NEWUSER), _refuse(_EPERM)]),
        _of(mmap, [_low(3), (_COMPARE_BITS, 0, 1, _MAP_GROWSDOWN), _refuse(_EINVAL)]),
        _of(
            mremap,
            [
                _high(1),  # the old size into X, the new one compared with it: the upper halves, then the lower
                (_STORE, 0, 0, 0),
                (_LOAD_X_MEMORY, 0, 0, 0),
                _high(2),
                (_COMPARE_GREATER_X, 6, 0, 0),
                (_COMPARE_EQUAL_X, 0, 6, 0),
                _low(1),
                (_STORE, 0, 0, 0),
                (_LOAD_X_MEMORY, 0, 0, 0),
                _low(2),
                (_COMPARE_GREATER_X, 0, 1, 0),
                _refuse(_ENOMEM),
            ],
        ),
        [(_RETURN, 0, 0, _ALLOW)],
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for block in blocks for instruction in block)


def refuse_for_good() -> None:
    """Lay the filter on the calling process and all that comes of it. Raises OSError, KeyError for an unknown machine.

    Only root may do so without giving up set-user-id programs first.
    """
    program = refusals(platform.machine())
    buffer = ctypes.create_string_buffer(program, len(program))
    told = _Program(len(program) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(told), 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"the sandbox's filter of system calls was refused: {os.strerror(number)}")


def _refuse(error: int) -> tuple[int, int, int, int]:
    return (_RETURN, 0, 0, _ERRNO | error)


def _low(argument: int) -> tuple[int, int, int, int]:
    """Load the lower half of an argument; both machines are little-endian."""
    return (_LOAD, 0, 0, _AT_ARGUMENTS + 8 * argument)


def _high(argument: int) -> tuple[int, int, int, int]:
    return (_LOAD, 0, 0, _AT_ARGUMENTS + 8 * argument + 4)


def _of(number: int, block: Sequence[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Return the block for one call: skipped for others, and the call's number is loaded again behind it."""
    return [(_COMPARE_EQUAL, 0, len(block) + 1, number), *block, (_LOAD, 0, 0, _AT_NUMBER)]
