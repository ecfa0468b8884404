"""`%nightingale` in a notebook: the same words as `nightingale-instance`. The image's kernels load it by themselves."""

from __future__ import annotations

import shlex
import sys
from typing import Any

from nightingale_instance.command import main


def nightingale(line: str) -> None:
    """Do what `nightingale-instance` does with these words, such as `%nightingale status`."""
    try:
        status = main(shlex.split(line))
    except SystemExit as wrong_use:  # argparse has said what is wrong
        status = int(wrong_use.code or 0)
    except ValueError as error:  # a quotation that does not end
        sys.stderr.write(f"error: {error}.\n")
        return
    if status:
        sys.stderr.write(f"exit status {status}\n")


def load_ipython_extension(shell: Any) -> None:
    """Let a kernel know the magic."""
    shell.register_magic_function(nightingale, magic_kind="line")
