"""Why a rule is not taken, while it is not yet known in which file it stands."""

from __future__ import annotations


class Refusal(Exception):  # noqa: N818 - becomes a RuleRefusedError once the rule's name is known
    """Something in a rule that is not supported or is wrong, and what to write instead."""

    def __init__(self, why: str, next_step: str = "") -> None:
        """Say what, and what to do."""
        super().__init__(why)
        self.why, self.next_step = why, next_step
