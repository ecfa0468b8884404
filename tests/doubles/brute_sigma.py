"""Sigma's matching by brute force, in plain Python: what SQL made of a rule must agree with. Shares nothing with it."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

ANY, ONE = object(), object()


@lru_cache
def folded(text: str) -> str:
    """Each character's own small letter: no character becomes two, none depends on its neighbours."""
    return "".join(small if len(small := letter.lower()) == 1 else small[0] for letter in text)


def pattern(value: str) -> list[object]:
    """The value's letters and wildcards; a backslash takes the meaning from a star, a question mark, a backslash."""
    parts: list[object] = []
    place = 0
    while place < len(value):
        letter = value[place]
        if letter == "\\" and value[place + 1 : place + 2] in ("*", "?", "\\"):
            place += 1
            parts.append(value[place])
        else:
            parts.append({"*": ANY, "?": ONE}.get(letter, letter))
        place += 1
    return parts


def as_number(text: str) -> float | None:
    """The finite number that a text is."""
    try:
        number = float(text) if text.isascii() else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


@dataclass(frozen=True)
class BruteSigma:
    """One `field|modifiers: values` over one cell."""

    modifiers: tuple[str, ...]
    values: Sequence[Any]
    is_json: bool = False

    def matches(self, cell: Any, other: Any = None) -> bool:
        """Whether a cell (None, text, number, flag, time, list of texts) matches; `other` is what `fieldref` names."""
        every = [self._value(cell, value, other) for value in self.values]
        found = all(every) if "all" in self.modifiers else any(every)
        return not found if "neq" in self.modifiers else found

    def _value(self, cell: Any, value: Any, other: Any) -> bool:
        if value is None:
            return cell is None
        if "exists" in self.modifiers:
            return bool((cell is not None) == value)
        if cell is None:
            return False
        return any(self._one(text, value, other) for text in self._texts(cell))

    def _texts(self, cell: Any) -> list[Any]:
        if isinstance(cell, list):
            return [one for one in cell if one is not None]
        if self.is_json and cell.startswith("["):
            try:
                found = json.loads(cell)
            except ValueError:
                return [cell]
            return [cell, *(_as_json_text(one) for one in found if one is not None)]
        return [cell]

    def _one(self, cell: Any, value: Any, other: Any) -> bool:  # noqa: PLR0911 - one way for each modifier
        named = set(self.modifiers)
        if "fieldref" in named:
            return other is not None and self._refers(folded(str(cell)), folded(str(other)))
        if "re" in named:
            letters = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL}
            flags = sum(flag for letter, flag in letters.items() if letter in named)
            if "m" not in named and value.endswith("$"):
                value = value[:-1] + r"\Z"  # RE2's dollar is the very end
            return re.search(value, _text_of(cell), flags) is not None
        if "cidr" in named:
            try:
                return ip_address(cell) in ip_network(value)
            except ValueError:
                return False
        if order := named & {"lt", "lte", "gt", "gte"}:
            number = as_number(cell) if isinstance(cell, str) else cell
            sign = order.pop()
            return number is not None and (
                (number < value if sign.startswith("lt") else number > value)
                or (sign.endswith("e") and number == value)
            )
        if isinstance(value, bool):
            return cell == value if isinstance(cell, bool) else folded(cell) == str(value).lower()
        if isinstance(value, int | float):
            return (as_number(cell) if isinstance(cell, str) else cell) == value
        return self._written(cell, value)

    def _refers(self, text: str, other: str) -> bool:
        if "contains" in self.modifiers:
            return other in text
        if "startswith" in self.modifiers:
            return text.startswith(other)
        return text.endswith(other) if "endswith" in self.modifiers else text == other

    def _written(self, cell: Any, value: str) -> bool:
        parts = pattern(value)
        is_plain = not any(part in (ANY, ONE) for part in parts)
        if "base64" in self.modifiers:
            parts = list(base64.b64encode("".join(map(str, parts)).encode()).decode())
        elif (
            not {"contains", "startswith", "endswith"} & set(self.modifiers) and is_plain and not isinstance(cell, str)
        ):
            return _equals_typed(cell, value)
        before = [ANY] if {"contains", "endswith"} & set(self.modifiers) else []
        after = [ANY] if {"contains", "startswith"} & set(self.modifiers) else []
        same = str if "cased" in self.modifiers else folded
        wanted = "".join(
            ".*" if part is ANY else "." if part is ONE else re.escape(same(str(part)))
            for part in before + parts + after
        )
        texts = [_text_of(cell)]
        if self.is_json and '"' in value:
            texts.append(texts[0].replace('\\"', '"'))
        return any(re.fullmatch(wanted, same(text), re.DOTALL) is not None for text in texts)


def _equals_typed(cell: Any, value: str) -> bool:
    if isinstance(cell, bool):
        return folded(value) == str(cell).lower()
    if isinstance(cell, datetime):
        try:
            return datetime.fromisoformat(value) == cell
        except ValueError:
            return False
    return re.fullmatch(r"[+-]?\d+(\.\d+)?", value, re.ASCII) is not None and float(value) == cell


def _text_of(cell: Any) -> str:
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, datetime):
        return cell.isoformat(timespec="seconds")
    return str(cell)


def _as_json_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
