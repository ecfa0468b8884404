"""Files of rules to compiled rules: what is taken, what is refused and why."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import msgspec
from sigma.correlations import SigmaCorrelationRule
from sigma.exceptions import SigmaError, SigmaRegularExpressionError
from sigma.policy import SigmaPolicy
from sigma.policy.regex_engine import RE2RegexEngine, RegexPattern
from sigma.rule import SigmaRule

from nightingale_findings.compiled import CompiledRule, CompiledRules, RuleRefusedError
from nightingale_findings.logsource import STANDARD, LogSource
from nightingale_findings.sigma.columns import Column
from nightingale_findings.sigma.correlations import Counted, correlation_of, first_operator
from nightingale_findings.sigma.dialect import DuckDBDialect
from nightingale_findings.sigma.documents import MATCHED, Document, check_keys, documents
from nightingale_findings.sigma.logsources import source_of
from nightingale_findings.sigma.metadata import common
from nightingale_findings.sigma.refusal import Refusal
from nightingale_findings.sigma.sql import NotSqlError, any_of
from nightingale_findings.sigma.values import unsupported_in

DIALECT = 1
"""Part of the digest: one more whenever the same rule would compile to SQL of another meaning."""

T = TypeVar("T")


class _QuietRE2(RE2RegexEngine):
    """RE2 that says what is wrong with a pattern in its error only, not on standard error too."""

    def compile(self, pattern: str, flags: int = 0) -> RegexPattern:
        options = self._re2.Options()
        options.log_errors = False
        inline = "".join(letter for flag, letter in _INLINE.items() if flags & flag)
        return cast(RegexPattern, self._re2.compile(f"(?{inline}){pattern}" if inline else pattern, options))


_INLINE = {re.IGNORECASE: "i", re.MULTILINE: "m", re.DOTALL: "s"}
_POLICY = SigmaPolicy(regex_engine=_QuietRE2())


def compile_rules(
    files: Mapping[str, str],
    sources: Sequence[LogSource],
    *,
    origin: str = "nightingale",
    placeholders: Mapping[str, Sequence[str]] | None = None,
) -> CompiledRules:
    """Return every rule of the files (name to YAML text), compiled, in order of name. The same input gives the same.

    `placeholders` holds the values that `expand` puts in, by name. Raises RuleRefusedError for the first rule that
    cannot be run as it is written; `check_rules` returns those that can.
    """
    compiled, refused = check_rules(files, sources, origin=origin, placeholders=placeholders)
    if refused:
        raise refused[0]
    return compiled


def check_rules(
    files: Mapping[str, str],
    sources: Sequence[LogSource],
    *,
    origin: str = "nightingale",
    placeholders: Mapping[str, Sequence[str]] | None = None,
) -> tuple[CompiledRules, tuple[RuleRefusedError, ...]]:
    """Return the rules that can be run, and a refusal for each that cannot, in order of file."""
    given = dict(placeholders or {})
    compiler = _Compiler(sources, origin, given)
    for file in sorted(files):
        compiler.read(file, files[file])
    rules = tuple(sorted(compiler.finished(), key=lambda rule: (rule.name, rule.id)))
    made_from = (
        DIALECT,
        sorted(files.items()),
        [(s.name, s.product, s.service, s.category, s.table, s.fields, sorted(s.aliases.items())) for s in sources],
        sorted(given.items()),
        rules,
    )
    digest = hashlib.sha256(msgspec.json.encode(made_from)).hexdigest()
    return CompiledRules(digest=digest, rules=rules), tuple(compiler.refused)


class _Detection:
    """A rule over events, and the columns that it and the correlations over it need."""

    def __init__(self, document: Document, rule: SigmaRule, source: LogSource, dialect: DuckDBDialect) -> None:
        self.document, self.source, self.dialect = document, source, dialect
        self.where = any_of(dialect.where(condition.parsed) for condition in rule.detection.parsed_condition)
        self.asked_for: list[bool] = []
        """Of each correlation over it: whether it asks for this rule's own findings too."""

    @property
    def is_finding(self) -> bool:
        return not self.asked_for or any(self.asked_for)

    def fields(self) -> tuple[str, ...]:
        return tuple(sorted(name for name in self.dialect.columns if name not in STANDARD))

    def column(self, field: str) -> Column:
        return self.dialect.column(field)


class _Compiler:
    def __init__(self, sources: Sequence[LogSource], origin: str, placeholders: Mapping[str, Sequence[str]]) -> None:
        self._sources, self._origin, self._placeholders = sources, origin, placeholders
        self._labels: dict[str, str] = {}
        self._detections: dict[str, tuple[_Detection, dict[str, Any]]] = {}
        self._correlations: list[tuple[Document, SigmaCorrelationRule, dict[str, Any]]] = []
        self._of_word: dict[str, str] = {}
        self._refused_words: set[str] = set()
        self.refused: list[RuleRefusedError] = []

    def read(self, file: str, text: str) -> None:
        every: list[Document] = []
        self._told(file, lambda: every.extend(documents(file, text)))
        for document in every:
            if self._told(document.label, lambda document=document: self._take(document)) is None:  # type: ignore[misc]  # a lambda's default has no type
                self._refused_words |= {str(document.content.get(key)) for key in ("id", "name")} | {document.stem}

    def finished(self) -> list[CompiledRule]:
        """Return the compiled rules, once every file was read: only now it is known which ones are counted."""
        correlations = [
            made
            for document, parsed, said in self._correlations
            if (made := self._told(document.label, lambda d=document, p=parsed, s=said: self._correlated(d, p, s)))  # type: ignore[misc]  # same
        ]
        plain = [
            CompiledRule(
                **said,
                source=detection.source.name,
                fields=detection.fields(),
                where=detection.where,
                is_finding=detection.is_finding,
            )
            for detection, said in self._detections.values()
        ]
        return plain + correlations

    def _told(self, label: str, act: Callable[[], T]) -> T | None:
        """Return what `act` does, or keep why it did not as a refusal of the rule that `label` names."""
        try:
            return act()
        except Refusal as error:
            why, next_step = error.why, error.next_step
        except SigmaRegularExpressionError as error:
            unsupported = unsupported_in(str(error))
            why = f"its regular expression has {unsupported}, which RE2 does not know" if unsupported else str(error)
            next_step = "write it without, or as several searches joined in `condition`"
        except SigmaError as error:
            why, next_step = _in_words(error)
        except NotSqlError as error:
            why, next_step = str(error), "write it in other characters"
        except (TypeError, ValueError, AttributeError, KeyError, IndexError, RecursionError) as error:
            # pySigma asks little of the shape of what it reads.
            why = f"it is not shaped as a rule is: {type(error).__name__}: {error}"
            next_step = "compare it with Sigma's specification: https://sigmahq.io/docs/basics/rules.html"
        self.refused.append(RuleRefusedError(label, why, next_step))
        return None

    def _take(self, document: Document) -> bool:
        check_keys(document)
        content = {key: value for key, value in document.content.items() if key in MATCHED}
        if "correlation" in content:
            block = content["correlation"]
            if isinstance(block, dict) and "condition" in block:
                content["correlation"] = {**block, "condition": first_operator(block["condition"])}
            parsed = SigmaCorrelationRule.from_dict(content)
            said = common(document, parsed, self._origin)
            self._claim(document, said)
            self._correlations.append((document, parsed, said))
            return True
        rule = SigmaRule.from_dict(content, policy=_POLICY)
        source = source_of(rule.logsource, self._sources)
        said = common(document, rule, self._origin)
        detection = _Detection(document, rule, source, DuckDBDialect(source, self._placeholders))
        self._claim(document, said)
        self._detections[said["id"]] = detection, said
        return True

    def _claim(self, document: Document, said: dict[str, Any]) -> None:
        for word in {said["id"], said["name"]}:
            if word in self._labels:
                raise Refusal(
                    f"{word!r} is the name of another rule too: {self._labels[word]}", "name one of them anew"
                )
        for word in {said["id"], said["name"]}:
            self._labels[word] = document.label
            self._of_word[word] = said["id"]

    def _correlated(self, document: Document, parsed: SigmaCorrelationRule, said: dict[str, Any]) -> CompiledRule:
        references = [reference.reference for reference in parsed.rules or ()]
        if not references:
            raise Refusal("it names no rules", "name them in `rules`")
        counted = {word: self._counted(word) for word in references}
        first = self._detections[counted[references[0]].id][0]
        correlation = correlation_of(document.content, parsed, counted)
        for rule in counted.values():
            self._detections[rule.id][0].asked_for.append(parsed.generate)
        return CompiledRule(**said, source=first.source.name, correlation=correlation)

    def _counted(self, word: str) -> Counted:
        rule = self._of_word.get(word) or self._of_word.get(word.lower())
        if rule in self._detections:
            return Counted(rule, self._detections[rule][0].column)
        if rule is not None:
            raise Refusal(f"{word!r} is a correlation, and a correlation over one is not supported", "name its rules")
        if word in self._refused_words:
            raise Refusal(f"the rule {word!r} was refused", "mend that one first")
        raise Refusal(f"there is no rule {word!r}", "name a rule by its `name` or `id`, from the same set of rules")


def _in_words(error: SigmaError) -> tuple[str, str]:
    words = " ".join(str(error).split())
    if "pipe syntax" in words:
        return (
            "the condition's `|` with an aggregation is not supported",
            "write a correlation: event_count, value_count",
        )
    return words, "see docs/reference/sigma.md for what is supported"
