"""login, logout, whoami."""

from __future__ import annotations

import argparse
from pathlib import Path

from nightingale.contract import schemas as s
from nightingale_tui.api.client import Api
from nightingale_tui.api.errors import ClientError, NotLoggedInError
from nightingale_tui.cli.command import Command
from nightingale_tui.cli.connection import connect, settings_of
from nightingale_tui.cli.console import Console
from nightingale_tui.cli.exit_codes import ExitCode
from nightingale_tui.cli.parser import add_server_flags
from nightingale_tui.cli.table import print_table
from nightingale_tui.cli.wording import ago
from nightingale_tui.login import Identity, login_with
from nightingale_tui.settings import (
    Session,
    Settings,
    SettingsError,
    forget_session,
    load_session,
    remember_url,
    save_session,
    write_private,
)


def _configure_login(parser: argparse.ArgumentParser) -> None:
    add_server_flags(parser)
    parser.add_argument("--key", metavar="FILE", help="SSH key to log in with (private, or public with an agent)")


def _login(args: argparse.Namespace, console: Console) -> int:
    settings = settings_of(args, console)
    with Api(settings.url, others=settings.others, transport=console.transport) as api:
        answer, identity = login_with(api, key_file=settings.key_file, environ=console.environ)
        session = Session(
            url=settings.url,
            person=answer.person,
            token=answer.token,
            expires_at=answer.expires_at,
            identity=str(_kept(settings, identity)),
        )
        save_session(settings, session)
        api.with_token(answer.token)
        me = api.get_me()
    if getattr(args, "url", None) and remember_url(settings):
        console.note(f"{settings.config_file} now names this platform; --url is no longer needed.")
    if console.is_json:
        console.data(me)
        return ExitCode.OK
    projects = ", ".join(membership.project for membership in me.memberships) or "none yet"
    console.line(f"Logged in to {settings.url} as {me.person}. Projects: {projects}.")
    console.note(f"The session ends {ago(answer.expires_at, console.now())}.")
    return ExitCode.OK


def _kept(settings: Settings, identity: Identity) -> Path:
    """Return a file that tells ssh which key to use; for a key only the agent has, its public line is kept."""
    if identity.path is not None:
        return identity.path.expanduser().absolute()
    public = settings.ssh_dir / "identity.pub"
    write_private(public, f"{identity.public_line}\n".encode())
    return public


def _logout(args: argparse.Namespace, console: Console) -> int:
    settings = settings_of(args, console)
    trouble: ClientError | None = None
    try:
        session = load_session(settings)
        if session is not None:
            with Api(settings.url, session.token, others=settings.others, transport=console.transport) as api:
                api.delete_session()
    except NotLoggedInError:
        pass  # it had ended already
    except SettingsError as error:
        console.note(f"warning: {error.message}")  # an exposed or damaged file is exactly what has to go
    except ClientError as error:
        trouble = error
    was_there = forget_session(settings)
    if trouble is not None:
        raise ClientError(
            trouble.code,
            f"The session is gone from this machine, but {settings.url} did not end it: {trouble.message}",
            "It ends by itself at its expiry; if others may have the token, tell your administrator.",
        )
    if console.is_json:
        console.data(s.Empty())
    else:
        console.line(f"Logged out of {settings.url}." if was_there else f"You were not logged in to {settings.url}.")
    return ExitCode.OK


def _whoami(args: argparse.Namespace, console: Console) -> int:
    with connect(args, console) as connection:
        me = connection.api.get_me()
    if console.is_json:
        console.data(me)
        return ExitCode.OK
    console.line(f"{me.person}{f' ({me.full_name})' if me.full_name else ''} at {connection.settings.url}")
    if me.is_admin:
        console.line("Administrator.")
    if me.is_multi_factor:
        console.line("Logged in by a FIDO2 key that verified you.")
    print_table(
        console,
        ("PROJECT", "ROLE", "PLAN", "TITLE"),
        [(member.project, member.role.value, member.plan.value, member.title) for member in me.memberships],
    )
    return ExitCode.OK


COMMANDS = (
    Command("login", "log in with your SSH key", _configure_login, _login, (s.MeOut,)),
    Command("logout", "end the session", add_server_flags, _logout, (s.Empty,)),
    Command("whoami", "who you are and which projects you are in", add_server_flags, _whoami, (s.MeOut,)),
)
