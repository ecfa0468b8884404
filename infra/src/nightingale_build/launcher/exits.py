"""Why a Jupyter server ended, in words."""

from __future__ import annotations

import contextlib
import json
import signal as signals
from collections.abc import Mapping
from datetime import datetime

from nightingale.contract.build import ExitRecord
from nightingale.contract.vocabulary import ReasonCode

SHELL_SIGNAL_BASE = 128
"""bwrap and setpriv report a signal as 128 and its number, as shells do."""

REFUSED = 78
"""A container's exit status when one of its hooks would not start Jupyter: the last line says why, as JSON."""

NO_SANDBOX: Mapping[int | None, tuple[str, ...]] = {1: ("bwrap: ", "unshare: "), 125: ("Error: ",)}
"""How the last line begins, by exit status, when the sandbox could not be made: 125 is podman's, see podman-run(1)."""

RETRY = "Read the last lines, then retry: the home folder is untouched."


def explain_exit(
    *,
    generation: int,
    status: int,
    is_asked: bool,
    has_run_out_of_memory: bool,
    last_lines: tuple[str, ...],
    started_at: datetime,
    ended_at: datetime,
    memory_mib: int,
) -> ExitRecord:
    """Return the exit record for a process's `status`: an exit code, or a signal as its negative number."""
    exit_code: int | None = status
    signal: int | None = None
    if status < 0 or SHELL_SIGNAL_BASE < status <= SHELL_SIGNAL_BASE + signals.NSIG:
        exit_code, signal = None, -status if status < 0 else status - SHELL_SIGNAL_BASE
    code, words, next_step = ReasonCode.JUPYTER_EXITED, f"The Jupyter server ended with exit status {status}.", RETRY
    if is_asked:
        code, words, next_step = ReasonCode.ASKED, "The Jupyter server was told to stop.", ""
    elif has_run_out_of_memory and signal == signals.SIGKILL:
        code = ReasonCode.OUT_OF_MEMORY
        words = f"The system ended the Jupyter server: the instance had used up its {memory_mib} MiB of memory."
        next_step = "Resize to more memory, or work on less data at a time; the home folder is untouched."
    elif exit_code == REFUSED and (told := _refusal(last_lines)) is not None:
        code, words, next_step = told
    elif last_lines and last_lines[-1].startswith(NO_SANDBOX.get(exit_code, ())):
        code = ReasonCode.SANDBOX_UNAVAILABLE
        words = f"The sandbox could not be made: {last_lines[-1]}"
        tool = "bubblewrap" if last_lines[-1].startswith("bwrap: ") else "podman"
        next_step = f"Ask your administrator to look at {tool} on this machine (nightingale local status)."
    elif signal is not None:
        code = ReasonCode.JUPYTER_KILLED
        words = f"The Jupyter server was ended by signal {signal} ({_name(signal)})."
        if signal == signals.SIGKILL:
            words += " Someone sent it, or the whole machine was short of memory."
    return ExitRecord(
        generation=generation,
        code=code,
        words=words,
        next_step=next_step,
        started_at=started_at,
        ended_at=ended_at,
        exit_code=exit_code,
        signal=signal,
        is_asked=is_asked,
        last_lines=last_lines,
    )


def _refusal(last_lines: tuple[str, ...]) -> tuple[ReasonCode, str, str] | None:
    """Return what the last hook of a container said: why it starts no Jupyter."""
    with contextlib.suppress(ValueError, KeyError, TypeError, IndexError):
        said = json.loads(last_lines[-1])
        return ReasonCode(said["code"]), f"{said['words']}.", str(said["next_step"])
    return None


def _name(signal: int) -> str:
    try:
        return signals.Signals(signal).name
    except ValueError:
        return "no name"
