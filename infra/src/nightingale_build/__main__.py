"""Run one build: `python -m nightingale_build BUILD_DIR [--lock-fd N]`, inside AWS `... codebuild`."""

from __future__ import annotations

import os
import sys

import nightingale.contract.lean_start  # noqa: F401 - before anything that imports msgspec


def main(arguments: list[str]) -> int:
    """Run the build where the command line says that it stands, and return the exit status."""
    if arguments == ["codebuild"]:
        from nightingale_build.codebuild import main as in_codebuild  # noqa: PLC0415 - loads what AWS needs

        return in_codebuild()
    from nightingale_build.local_build import main as on_this_machine  # noqa: PLC0415 - the other needs none of it

    return on_this_machine(arguments)


if __name__ == "__main__":
    status = main(sys.argv[1:])
    # What Python does at its end frees memory that is free a moment later, and the platform waits for this end.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
