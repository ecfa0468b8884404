"""`python -m nightingale_findings.sigma FOLDER... --out compiled.json`: rules compiled, or told why not."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nightingale_findings.compiled import RuleRefusedError
from nightingale_findings.sigma.compiler import check_rules
from nightingale_findings.sigma.folders import read_folders, written
from nightingale_findings.sigma.known import every_source


def main(arguments: Sequence[str] | None = None) -> int:
    """Compile the folders' rules; return 0 if all were taken (and with `--check`, if the file is theirs), else 1."""
    parser = argparse.ArgumentParser(prog="python -m nightingale_findings.sigma", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="rules in Sigma's format, *.yml")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where the compiled rules go")
    parser.add_argument("--origin", default="nightingale", help="whose rules they are (default: nightingale)")
    parser.add_argument("--check", action="store_true", help="write nothing; say whether FILE is what would be written")
    options = parser.parse_args(arguments)
    try:
        compiled, refused = check_rules(read_folders(options.folders), every_source(), origin=options.origin)
    except RuleRefusedError as error:
        _say(error)
        return 1
    except OSError as error:
        _line(f"error: {error}")
        return 1
    for one in refused:
        _say(one)
    if refused:
        _line(f"{len(refused)} refused, {len(compiled.rules)} would be taken; nothing was written")
        return 1
    text = written(compiled)
    if options.check:
        if options.out.is_file() and options.out.read_bytes() == text:
            return 0
        _line(f"error: {options.out} is not what the rules compile to")
        _line("hint: ./run rules writes it anew")
        return 1
    options.out.write_bytes(text)
    _line(f"{len(compiled.rules)} rules compiled into {options.out}")
    return 0


def _say(refused: RuleRefusedError) -> None:
    _line(f"refused: {refused}")
    if refused.next_step:
        _line(f"hint: {refused.next_step}")


def _line(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
