"""admin user: one person added, given another key, or taken out, without touching a file.

Each is export, change, plan, show, ask, apply on the revision that was exported. Should somebody else apply in between,
it is done again from what they made, once; what was agreed to is asked about again only if it became something else.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from nightingale.contract import schemas as s
from nightingale.contract.vocabulary import Role
from nightingale_tui.api.errors import ConflictError, NotFoundError
from nightingale_tui.cli.changes import counted, print_changes
from nightingale_tui.cli.command import Command
from nightingale_tui.cli.connection import connect
from nightingale_tui.cli.console import Console
from nightingale_tui.cli.exit_codes import ExitCode, UsageError, cannot_be
from nightingale_tui.cli.parser import Parser, add_dry_run, add_server_flags, add_yes

_LONGEST_KEY_FILE = 65_536
_MOST_NAMES = 20
_CHANGED = "cluster_changed"
Change = Callable[[s.ClusterIn], s.ClusterIn]
replace = msgspec.structs.replace


def _configure(parser: argparse.ArgumentParser) -> None:
    rooms = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    add = _room(rooms, "add", "add a person", _add)
    add.add_argument("--key", dest="add_key", type=Path, required=True, metavar="FILE", help="their SSH public key")
    add.add_argument("--full-name", default="", metavar="TEXT", help="as people call them")
    add.add_argument(
        *("-p", "--project"),
        dest="member_of",
        action="append",
        default=[],
        metavar="PROJECT",
        help="make them a member",
    )
    add.add_argument("--role", choices=[role.value for role in Role], help="in that project (researcher)")
    add.add_argument("--admin", action="store_true", help="may change the cluster")
    key = _room(rooms, "key", "give a person one more key, or take one away", _key)
    how = key.add_mutually_exclusive_group(required=True)
    how.add_argument("--add", dest="add_key", type=Path, metavar="FILE", help="SSH public key to add")
    how.add_argument("--remove", metavar="FINGERPRINT", help="SHA256:… as `ssh-keygen -l` shows it")
    _room(rooms, "revoke", "take a person out: sessions and tunnels end, files and bills stay", _revoke)


def _room(
    rooms: argparse._SubParsersAction[Parser],
    name: str,
    summary: str,
    change: Callable[[argparse.Namespace], Change],
) -> Parser:
    parser = rooms.add_parser(
        name, help=summary, description=f"{summary[:1].upper()}{summary[1:]}.", allow_abbrev=False
    )
    add_server_flags(parser)
    parser.add_argument("person", metavar="NAME", help="the person's name in the cluster")
    add_yes(parser)
    add_dry_run(parser)
    parser.set_defaults(change=change)
    return parser


def _run(args: argparse.Namespace, console: Console) -> int:
    change: Change = args.change(args)
    agreed: tuple[s.ClusterChangeOut, ...] | None = None
    with connect(args, console) as connection:
        for is_last in (False, True):
            found = connection.api.get_cluster()
            cluster = change(found.cluster)
            plan = connection.api.plan_cluster(s.ClusterPlanIn(cluster=cluster))
            try:
                if plan.base != found.revision:
                    raise _overtaken(found.revision, plan.base)
                if not plan.changes or args.dry_run:
                    return _nothing_done(console, plan)
                if plan.changes != agreed:
                    if not console.is_json:
                        print_changes(console, plan.changes)
                    if not console.confirm(f"Apply {counted(plan.changes)}?"):
                        console.note("Nothing was done.")
                        return ExitCode.FAILED
                    agreed = plan.changes
                # On what was exported: an apply of somebody else in between must not be undone by this one.
                applied = connection.api.apply_cluster(s.ClusterApplyIn(cluster=cluster, base=found.revision))
            except ConflictError as error:
                if error.code != _CHANGED or is_last:
                    raise
                console.note("Somebody else changed the cluster just now; looking again.")
                continue
            break
    if console.is_json:
        console.data(applied)
    else:
        console.line(f"Applied. The cluster is at revision {applied.revision}.")
    return ExitCode.OK


def _nothing_done(console: Console, plan: s.ClusterPlanOut) -> int:
    if console.is_json:
        console.data(plan)
    elif not plan.changes:
        console.line("Nothing to change.")
    else:
        print_changes(console, plan.changes)
    return ExitCode.DIFFERENCE if plan.changes else ExitCode.OK


def _overtaken(seen: int, now: int) -> ConflictError:
    return ConflictError(_CHANGED, f"The cluster went from revision {seen} to {now} meanwhile.", "Try again.")


# --- the three changes ------------------------------------------------------------------------------------------------


def _add(args: argparse.Namespace) -> Change:
    if args.role is not None and not args.member_of:
        raise UsageError("--role says which role in which --project.", "Name one: `--project PROJECT --role lead`.")
    role = Role(args.role or Role.RESEARCHER)
    person = s.PersonIn(name=args.person, keys=_keys_in(args.add_key), full_name=args.full_name, is_admin=args.admin)
    try:
        msgspec.convert(msgspec.to_builtins(person), s.PersonIn)
    except msgspec.ValidationError as error:
        raise cannot_be(error) from error

    def change(cluster: s.ClusterIn) -> s.ClusterIn:
        if any(known.name == person.name for known in cluster.people):
            raise ConflictError(
                "name_taken",
                f"There is a person {person.name} already.",
                "Another key: `nightingale admin user key NAME --add FILE`; a project or a role: the cluster file.",
            )
        missing = sorted(set(args.member_of) - {project.name for project in cluster.projects})
        if missing:
            raise NotFoundError(
                "not_found",
                f"There is no project {missing[0]}.",
                _there_are(project.name for project in cluster.projects),
            )
        member = s.MemberIn(person=person.name, role=role)
        projects = tuple(
            replace(project, members=(*project.members, member)) if project.name in args.member_of else project
            for project in cluster.projects
        )
        return replace(cluster, people=(*cluster.people, person), projects=projects)

    return change


def _key(args: argparse.Namespace) -> Change:
    added = _keys_in(args.add_key) if args.add_key else ()
    removed = args.remove

    def change(cluster: s.ClusterIn) -> s.ClusterIn:
        person = _person(cluster, args.person)
        known = {fingerprint_of(line): line for line in person.keys}
        if removed is not None and removed not in known:
            raise NotFoundError("not_found", f"{person.name} has no key {removed}.", _there_are(known))
        kept = tuple(line for fingerprint, line in known.items() if fingerprint != removed)
        keys = (*kept, *(line for line in added if fingerprint_of(line) not in known))
        changed = replace(person, keys=keys)
        return replace(cluster, people=tuple(changed if one is person else one for one in cluster.people))

    return change


def _revoke(args: argparse.Namespace) -> Change:
    def change(cluster: s.ClusterIn) -> s.ClusterIn:
        person = _person(cluster, args.person)
        return replace(
            cluster,
            people=tuple(one for one in cluster.people if one is not person),
            projects=tuple(
                replace(project, members=tuple(one for one in project.members if one.person != person.name))
                for project in cluster.projects
            ),
        )

    return change


def _person(cluster: s.ClusterIn, name: str) -> s.PersonIn:
    for person in cluster.people:
        if person.name == name:
            return person
    raise NotFoundError("not_found", f"There is no person {name}.", _there_are(one.name for one in cluster.people))


def _there_are(names: Iterable[str]) -> str:
    listed = [*names]
    more = f" and {len(listed) - _MOST_NAMES} more" if len(listed) > _MOST_NAMES else ""
    return f"There are: {', '.join(listed[:_MOST_NAMES]) or 'none'}{more}."


# --- keys -------------------------------------------------------------------------------------------------------------


def _keys_in(path: Path) -> tuple[str, ...]:
    """Return the public keys of a file, one a line. Raises UsageError; a private key is refused before it is sent."""
    try:
        with path.expanduser().open("rb") as file:
            text = file.read(_LONGEST_KEY_FILE).decode()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} holds no SSH public key.", "Give a .pub file.") from error
    if "PRIVATE KEY" in text:
        raise UsageError(f"{path} is a private key, which nobody but its owner may have.", f"Give {path}.pub instead.")
    lines = tuple(" ".join(line.split()) for line in text.splitlines() if line.strip() and not line.startswith("#"))
    if not lines:
        raise UsageError(f"{path} holds no SSH public key.", "Give a .pub file.")
    for line in lines:
        try:
            msgspec.convert(line, s.PublicKey)
            fingerprint_of(line)
        except (msgspec.ValidationError, ValueError) as error:
            raise UsageError(f"{path} holds a line that is no SSH public key.", "Give a .pub file.") from error
    return lines


def fingerprint_of(line: str) -> str:
    """Return a public key's `SHA256:…`, as OpenSSH counts it. Raises ValueError for a line that is none."""
    try:
        blob = base64.b64decode(line.split()[1], validate=True)
    except (IndexError, binascii.Error) as error:
        raise ValueError("no public key") from error
    return f"SHA256:{base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip('=')}"


COMMANDS = (
    Command(
        "user",
        "add a person, change their keys, take them out",
        _configure,
        _run,
        (s.ClusterApplyOut, s.ClusterPlanOut),
    ),
)
