"""Rules as they lie in files: YAML read, keys looked at, before anything is asked of pySigma."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import yaml
from sigma.exceptions import SigmaError
from sigma.rule.base import SigmaYAMLLoader, check_alias_expansion

from nightingale_findings.sigma.refusal import Refusal

MOST_CHARACTERS = 1 << 20
"""Of one file of rules."""

_KNOWN = (
    *("title", "id", "name", "taxonomy", "related", "status", "description", "license", "references", "tags"),
    *("author", "date", "modified", "fields", "falsepositives", "level", "scope", "logsource", "detection"),
    *("correlation", "custom"),
)
_REFUSED = {
    "action": "write each rule out: collections by `action` are not read",
    "filter": "write what it filters into the rule itself, with `not`: Sigma filters are not read",
    "timeframe": "write a correlation with `timespan`",
    "timespan": "it belongs into `correlation`",
    "window": "only sliding windows are run: leave `window` out and say how long by `timespan`",
    "condition": "it belongs into `detection`",
    "generate": "it belongs into `correlation`",
    "group-by": "it belongs into `correlation`",
}
_CORRELATION = frozenset(("type", "rules", "group-by", "timespan", "aliases", "condition", "generate"))
_LOGSOURCE = frozenset(("product", "service", "category", "definition"))


class _Loader(SigmaYAMLLoader):
    """YAML in which only true and false are true and false: `MFAUsed: No` is what the log says, a text."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z") if tag.endswith(":bool") else pattern)
        for tag, pattern in resolvers
    ]
    for first, resolvers in SigmaYAMLLoader.yaml_implicit_resolvers.items()
}


MATCHED = ("title", "id", "name", "level", "logsource", "detection", "correlation")
"""What pySigma is given. The other keys are for people, and pySigma would refuse what older rules have in them."""


@dataclass(frozen=True)
class Document:
    """One rule of a file, parsed as YAML."""

    file: str
    place: int
    """From 1 on."""
    is_only: bool
    content: Mapping[str, Any]

    @property
    def label(self) -> str:
        """Return what to call the rule in an error: the file, and which of several."""
        if self.is_only:
            return self.file
        return f"{self.file} ({self.content.get('name') or self.content.get('title') or f'number {self.place}'})"

    @property
    def stem(self) -> str:
        """Return the rule's name if it gives none."""
        stem = PurePosixPath(self.file).stem
        return stem if self.is_only else f"{stem}-{self.place}"


def documents(file: str, text: str) -> Iterator[Document]:
    """Yield the rules of a file. Raises Refusal if it is not YAML as a rule is."""
    if len(text) > MOST_CHARACTERS:
        raise Refusal(f"it is longer than {MOST_CHARACTERS} characters", "split it")
    try:
        every = [one for one in yaml.load_all(text, Loader=_Loader) if one is not None]
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise Refusal(f"it is not YAML: {' '.join(str(error).split())}", "mend the line that is named") from error
    if not every:
        raise Refusal("it holds no rule", "write a rule into it, or delete it")
    for place, content in enumerate(every, 1):
        if not isinstance(content, dict):
            raise Refusal("it is not a rule: its top is no mapping of keys", "begin with `title:`")
        try:
            check_alias_expansion(content)
        except SigmaError as error:
            raise Refusal(str(error), "write the aliases out") from error
        yield Document(file, place, len(every) == 1, content)


def check_keys(document: Document) -> None:
    """Raise Refusal for a key that would change what the rule means, were it obeyed."""
    content = document.content
    for key in content:
        if key in _REFUSED:
            raise Refusal(f"the key {key!r} is not supported here", _REFUSED[key])
        near = difflib.get_close_matches(str(key).lower(), _KNOWN, n=1, cutoff=0.8)
        if key not in _KNOWN and near and near[0] not in content:
            raise Refusal(f"the key {key!r} is not known", f"did you mean {near[0]!r}?")
    if content.get("taxonomy") not in (None, "sigma"):
        raise Refusal(
            f"the taxonomy {content['taxonomy']!r} is not known", "name fields as the source does, and leave it out"
        )
    if "correlation" in content and "detection" in content:
        raise Refusal("it is both a detection and a correlation", "make two documents of it, parted by `---`")
    _only("correlation", content.get("correlation"), _CORRELATION)
    _only("logsource", content.get("logsource"), _LOGSOURCE)
    _check_detection(content.get("detection"))


def _only(where: str, block: object, known: frozenset[str]) -> None:
    if not isinstance(block, dict):
        return
    for key in block:
        if key not in known:
            hint = _REFUSED.get(key) if key not in ("condition", "timespan") else None
            raise Refusal(
                f"the key {key!r} of `{where}` is not supported", hint or f"it knows {', '.join(sorted(known))}"
            )


def _check_detection(detection: object) -> None:
    if not isinstance(detection, dict):
        return
    if "timeframe" in detection:
        raise Refusal("`timeframe` is not supported", "write a correlation with `timespan`")
    for search, content in detection.items():
        if search != "condition":
            _check_search(str(search), content)


def _check_search(search: str, content: object) -> None:
    """Refuse what pySigma would read as null, which is not what is written."""
    if content is None or content in ([], {}):
        raise Refusal(
            f"the search {search!r} is empty", "write what it looks for, or `field: null` for an absent field"
        )
    for inner in content if isinstance(content, list) else [content]:
        if not isinstance(inner, dict):
            continue
        for field, values in inner.items():
            if not isinstance(field, str):
                raise Refusal(f"the field {field!r} of the search {search!r} is no text", "put it in quotes")
            if values == []:
                raise Refusal(
                    f"{field!r} of the search {search!r} has an empty list of values", "write what it looks for"
                )
