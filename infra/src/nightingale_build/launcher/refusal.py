"""Why the launcher does not do what it was told."""

from __future__ import annotations

import json

from nightingale.contract.vocabulary import ReasonCode


class RefusalError(Exception):
    """A refusal in words. Terraform's log carries it to the build's result as one JSON line."""

    def __init__(self, code: ReasonCode, words: str, next_step: str) -> None:
        """Keep the reason code, what happened and what to do next."""
        super().__init__(words)
        self.code = code
        self.words = words
        self.next_step = next_step

    def line(self) -> str:
        """Return the one line of JSON that the build runner looks for."""
        return json.dumps({"code": self.code.value, "words": self.words, "next_step": self.next_step})
