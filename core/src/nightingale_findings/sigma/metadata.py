"""What a finding says of a rule, from the keys of Sigma that match nothing, and from our own `custom` block."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from sigma.rule import SigmaRuleBase

from nightingale_findings.compiled import Level
from nightingale_findings.sigma.documents import Document
from nightingale_findings.sigma.refusal import Refusal

USUAL_LEVEL: Level = "medium"
"""Of a rule that gives none; Sigma does not ask for one."""
USUAL_EPISODE_S = 3600
RESPONSES = ("notify", "quarantine", "revoke")

_TECHNIQUE = re.compile(r"attack\.(t[0-9]{4}(?:\.[0-9]{3})?)")
_EPISODE = re.compile(r"([1-9][0-9]*)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Custom:
    """What Nightingale is asked to do, beside telling."""

    response: str = ""
    episode_s: int = USUAL_EPISODE_S
    next_step: str = ""


def common(document: Document, rule: SigmaRuleBase, origin: str) -> dict[str, Any]:
    """Return the fields of a CompiledRule that detections and correlations share. Raises Refusal."""
    content = document.content
    custom = custom_of(content)
    tags = _texts(content, "tags")
    techniques = [found[1].upper() for tag in tags if (found := _TECHNIQUE.fullmatch(tag.lower()))]
    return {
        "id": str(rule.id) if rule.id else rule.name or document.stem,
        "name": rule.name or document.stem,
        "title": rule.title,
        "description": _text(content, "description"),
        "level": cast(Level, str(rule.level)) if rule.level else USUAL_LEVEL,
        "status": _text(content, "status"),
        "author": ", ".join(_texts(content, "author")),
        "origin": origin,
        "techniques": tuple(dict.fromkeys(techniques)),
        "tags": tags,
        "falsepositives": _texts(content, "falsepositives"),
        "response": custom.response,
        "episode_s": custom.episode_s,
        "next_step": custom.next_step,
    }


def _text(content: Mapping[str, Any], key: str) -> str:
    return " ".join(_texts(content, key))


def _texts(content: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Return what people are told, written as one text or as a list: older rules have either."""
    written = content.get(key)
    every = written if isinstance(written, list) else [] if written is None else [written]
    for one in every:
        if isinstance(one, list | dict):
            raise Refusal(f"`{key}` is neither a text nor a list of texts", "write a text, or a list of them")
    return tuple(str(one).strip() for one in every if one is not None)


def custom_of(content: Mapping[str, Any]) -> Custom:
    """Return what `custom: nightingale:` asks for. Raises Refusal for a key or value that is not known."""
    every = content.get("custom")
    block = every.get("nightingale") if isinstance(every, dict) else None
    if block is None:
        return Custom()
    if not isinstance(block, dict):
        raise Refusal("`custom: nightingale:` is no mapping", "write `response`, `episode` or `next_step` below it")
    for key in block:
        if key not in ("response", "episode", "next_step"):
            raise Refusal(
                f"the key {key!r} of `custom: nightingale:` is not known", "it knows response, episode, next_step"
            )
    response = block.get("response", "")
    if response not in ("", *RESPONSES):
        raise Refusal(f"the response {response!r} is not known", f"write one of {', '.join(RESPONSES)}")
    next_step = block.get("next_step", "")
    if not isinstance(next_step, str):
        raise Refusal("`next_step` is no text", "write what an administrator does first, in words")
    return Custom(response, _episode(block.get("episode")), next_step.strip())


def _episode(written: object) -> int:
    if written is None:
        return USUAL_EPISODE_S
    found = _EPISODE.fullmatch(written) if isinstance(written, str) else None
    if found is None:
        raise Refusal(f"the episode {written!r} is not understood", "write it as `90s`, `30m`, `1h` or `2d`")
    return int(found[1]) * _SECONDS[found[2]]
