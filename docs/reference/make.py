"""Writes the reference's pages and schemas from the contract and the command line, so that they cannot go stale.

`.venv/bin/python docs/reference/make.py` writes them; a test fails when they differ from what this would write.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from nightingale.contract.errors import ErrorCode
from nightingale.contract.operations import OPERATIONS, Operation
from nightingale.contract.schemas import ErrorOut
from nightingale.contract.vocabulary import Permission, Reach, ReasonCode, Role, Status
from nightingale.domain.access import ADMIN_GRANTS, ROLE_GRANTS, InstanceIdentity, Principal
from nightingale_local import check_report
from nightingale_local.commands import DEMO, LOCAL
from nightingale_local.doctor.commands import DOCTOR
from nightingale_tui.api.errors import BadAnswerError, UnreachableError, refusal
from nightingale_tui.cli.command import Command
from nightingale_tui.cli.exit_codes import MEANINGS, UsageError, exit_code_of
from nightingale_tui.cli.json_schemas import cluster_schema, output_schema
from nightingale_tui.cli.main import ADMIN, BUILT_IN

HERE = Path(__file__).parent
_MADE = "<!-- Written by docs/reference/make.py; change the code it reads, then run it. -->"
_REACH = {Reach.NONE: "", Reach.OWN: "own", Reach.ANY: "any"}


def pages() -> dict[str, str]:
    """Return the text of every page by its path beside this file."""
    return {
        "api.md": _api(),
        "permissions.md": _permissions(),
        "cli.md": _cli(),
        "exit-codes.md": _exit_codes(),
        "check.md": check_report.page(_MADE, _table),
        **_schemas(),
    }


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


# --- api.md -----------------------------------------------------------------------------------------------------------


def _api() -> str:
    return "\n".join(
        (
            _MADE,
            "# API\n",
            "Each operation is one row of `nightingale.contract.operations`. Bodies are JSON, described by the OpenAPI",
            "3.1 document that a running platform serves at `/openapi.json`. A caller sends",
            "`Authorization: Bearer TOKEN`; `public` needs none.\n",
            "## Operations\n",
            _table(
                ("operation", "call", "permission", "body", "answer", "what it does"),
                (_operation(operation) for operation in OPERATIONS),
            ),
            "## Query parameters\n",
            "All are optional.\n",
            _table(
                ("operation", "parameter", "kind", "meaning"),
                (
                    (f"`{operation.name}`", f"`{query.name}`", query.kind.value, query.summary)
                    for operation in OPERATIONS
                    for query in operation.query
                ),
            ),
            "## Who may do what\n",
            "`own`: on instances that the person owns. `any`: on every instance of the project. What is not in this",
            "table is refused.\n",
            _table(
                ("permission", *(role.value for role in Role), "administrator"),
                (_grants(permission) for permission in Permission),
            ),
            "## Errors\n",
            "Every refusal is JSON with `code`, `message`, `next_step`, `details` (path and message of each fault in a",
            "body) and `request_id`. Codes are stable; words are not.\n",
            _table(("code", "status"), ((f"`{code.code}`", str(code.status)) for code in ErrorCode)),
            "## Statuses and reasons\n",
            f"An instance is one of: {_words(Status)}.\n",
            "`reason.code` of an instance or a build says why it stands where it stands:\n"
            + _words(ReasonCode)
            + ".\n",
        )
    )


def _words(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _operation(operation: Operation) -> tuple[str, ...]:
    return (
        f"`{operation.name}`",
        f"`{operation.method} {operation.path}`",
        f"`{operation.permission}`",
        f"`{operation.request.__name__}`" if operation.request else "",
        f"{operation.status} `{operation.response.__name__}`",
        operation.summary,
    )


def _grants(permission: Permission) -> tuple[str, ...]:
    if permission is Permission.PUBLIC:
        return (f"`{permission}`", *("any" for _ in Role), "any")
    if permission is Permission.SELF:
        return (f"`{permission}`", *("own" for _ in Role), "own")
    roles = (_REACH[ROLE_GRANTS[role].get(permission, Reach.NONE)] for role in Role)
    return (f"`{permission}`", *roles, _REACH[ADMIN_GRANTS.get(permission, Reach.NONE)])


# --- permissions.md ---------------------------------------------------------------------------------------------------

_PROJECT = "theirs"


def _instance(*, is_shipper: bool) -> Principal:
    identity = InstanceIdentity(_PROJECT, "i-0000000001", "somebody", is_shipper=is_shipper)
    return Principal("i-0000000001", is_person=False, instance=identity)


_CALLERS: dict[str, Principal | None] = {
    "anonymous": None,
    **{role.value: Principal("somebody", roles=((_PROJECT, role),)) for role in Role},
    "stranger": Principal("stranger", roles=(("another", Role.LEAD),)),
    "admin": Principal("admin", is_admin=True),
    "operator token": Principal("operator", is_admin=True, is_person=False),
    "gateway token": Principal("gateway", is_gateway=True, is_person=False),
    "index token": Principal("index", is_index=True, is_person=False),
    "instance token": _instance(is_shipper=False),
    "shipper token": _instance(is_shipper=True),
}


def _permissions() -> str:
    return "\n".join(
        (
            _MADE,
            "# Who may call what\n",
            "Each operation by each kind of caller; `tests/doors/test_permissions_over_http.py` tries every cell over",
            "HTTP, on own and on others' instances, in own and in other projects.\n",
            "- empty: refused, with `401` for the anonymous caller and `403` for the others",
            "- `yes`: no project is involved",
            "- `own`: on instances that the caller owns, in the caller's projects",
            "- `project`: on everything in the caller's projects, and nothing elsewhere",
            "- `all`: in every project\n",
            "The stranger leads another project. The admin is a member of no project: what an admin may do inside one",
            "comes from being an admin alone. The tokens of operator, gateway and index lie on the platform's machine,",
            "those of an instance and of what ships its reads on the instance's; both speak for that instance alone.\n",
            _table(
                ("operation", *_CALLERS),
                (
                    (f"`{operation.name}`", *(_cell(operation, caller) for caller in _CALLERS.values()))
                    for operation in OPERATIONS
                ),
            ),
        )
    )


def _cell(operation: Operation, caller: Principal | None) -> str:
    if caller is None:
        return "yes" if operation.permission is Permission.PUBLIC else ""
    has_project = "{project}" in operation.path
    here = caller.reach(operation.permission, _PROJECT if has_project else None)
    if here is Reach.NONE:
        return ""
    if not has_project:
        return "yes"
    if caller.reach(operation.permission, "elsewhere") is not Reach.NONE:
        return "all"
    return "own" if here is Reach.OWN and "{instance}" in operation.path else "project"


# --- cli.md -----------------------------------------------------------------------------------------------------------


def _cli() -> str:
    return "\n".join(
        (
            _MADE,
            "# Command line\n",
            "`nightingale` alone opens the app. The result of a command goes to stdout, progress and errors to stderr.",
            "Durations are written `10m`, `2h`, `1d`.\n",
            *_section("nightingale", BUILT_IN),
            *_section("nightingale admin", (*ADMIN, DOCTOR)),
            *_section("nightingale", (LOCAL, DEMO)),
            "See also [exit statuses](exit-codes.md), [the JSON of every command](json/) and",
            "[the schema of the cluster file](cluster.schema.json).\n",
        )
    )


# --- exit-codes.md, schemas -------------------------------------------------------------------------------------------


def _exit_codes() -> str:
    kinds = sorted(_error_kinds(), key=lambda pair: (pair[1], pair[0]))
    return "\n".join(
        (
            _MADE,
            "# Exit statuses\n",
            "Scripts compare these: they do not change. With `--json` an error is one JSON object on stderr",
            "([schema](json/error.schema.json)); its `code` is finer than the status, and as stable.\n",
            _table(
                ("status", "name", "meaning"),
                ((f"`{code.value}`", name, meaning) for code, name, meaning in MEANINGS),
            ),
            "## From code to status\n",
            "A code that is not listed, such as an instance's reason, gives `1`.\n",
            _table(("code", "status"), ((f"`{code}`", f"`{status}`") for code, status in kinds)),
        )
    )


def _error_kinds() -> Iterator[tuple[str, int]]:
    for code in ErrorCode:
        yield code.code, exit_code_of(refusal(code.status, ErrorOut(code=code.code, message="")))
    yield "usage", exit_code_of(UsageError(""))
    yield "unreachable", exit_code_of(UnreachableError("", ""))
    yield "bad_answer", exit_code_of(BadAnswerError("", ""))


def _schemas() -> dict[str, str]:
    documents = {"cluster.schema.json": cluster_schema()}
    for prefix, commands in (("", BUILT_IN), ("admin-", ADMIN)):
        for command in commands:
            if command.output:
                title = f"nightingale {prefix.replace('-', ' ')}{command.name} --json"
                documents[f"json/{prefix}{command.name}.schema.json"] = output_schema(title, command.output)
    documents["json/error.schema.json"] = output_schema("an error of any command with --json, on stderr", (ErrorOut,))
    return {name: json.dumps(document, indent=2) + "\n" for name, document in documents.items()}


def _section(prefix: str, commands: Iterable[Command]) -> Iterator[str]:
    for command in commands:
        parser = argparse.ArgumentParser(prog=f"{prefix} {command.name}", add_help=False)
        command.configure(parser)
        yield from _parser(parser, f"{command.summary[:1].upper()}{command.summary[1:]}.")


def _parser(parser: argparse.ArgumentParser, summary: str) -> Iterator[str]:
    actions = parser._actions  # noqa: SLF001 - argparse lists a parser's arguments nowhere else
    rooms = [action for action in actions if isinstance(action, argparse._SubParsersAction)]  # noqa: SLF001 - same
    shown = [action for action in actions if action not in rooms and action.help is not argparse.SUPPRESS]
    places = [_place(action) for action in shown if not action.option_strings]
    if not rooms:
        yield f"## `{' '.join((parser.prog, *places))}`\n"
        yield summary + "\n"
        rows = [(f"`{_name(action)}`", action.help or "") for action in shown if action.dest != "help"]
        if rows:
            yield _table(("argument", "meaning"), rows)
    for room in rooms:
        helps = {choice.dest: choice.help or "" for choice in room._choices_actions}  # noqa: SLF001 - same
        for name, sub in room.choices.items():
            words = helps.get(name, "")
            yield from _parser(sub, f"{words[:1].upper()}{words[1:]}.")


def _place(action: argparse.Action) -> str:
    name = str(action.metavar or action.dest).upper()
    return f"[{name}]" if action.nargs in {"?", "*"} else name


def _name(action: argparse.Action) -> str:
    if not action.option_strings:
        return _place(action)
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    return ", ".join(action.option_strings) + value


def main() -> int:
    """Write every page beside this file and return the exit status."""
    for name, text in pages().items():
        (HERE / name).parent.mkdir(exist_ok=True)
        (HERE / name).write_text(text, encoding="utf-8")
        sys.stderr.write(f"docs/reference/{name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
