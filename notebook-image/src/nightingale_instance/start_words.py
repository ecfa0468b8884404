"""What a step of an instance's start did, or why not: one line of JSON each, as the launcher's refusals are."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass

from nightingale.contract.vocabulary import ReasonCode

EXIT_REFUSED = 78
"""EX_CONFIG of sysexits.h, what the entry point itself ends with: what was given to the container is wrong."""


@dataclass(frozen=True)
class Refusal:
    """Why a step was not done, or why the server is not well."""

    code: ReasonCode
    words: str
    next_step: str


def say(words: str, refusal: Refusal | None = None) -> None:
    """Print what was done, or the refusal where there is one; the hook that asked has put its name into HOOK."""
    line: dict[str, str] = {"hook": os.environ["HOOK"]} if os.environ.get("HOOK") else {}
    if refusal is None:
        line["words"] = words
    else:
        line |= {"code": refusal.code.value, "words": refusal.words, "next_step": refusal.next_step}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
