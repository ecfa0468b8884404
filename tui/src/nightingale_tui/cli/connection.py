"""From flags to a logged-in client and a project."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Self

from nightingale_tui.api.client import Api
from nightingale_tui.api.errors import NotLoggedInError
from nightingale_tui.cli.console import Console
from nightingale_tui.cli.exit_codes import UsageError
from nightingale_tui.settings import Session, Settings, load_session, load_settings


@dataclass(frozen=True)
class Connection:
    """A client that speaks for `session`'s person. Use as a context manager."""

    api: Api
    settings: Settings
    session: Session

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.api.close()

    def project(self) -> str:
        """Return the project this run is about: told, or the person's only one. Raises UsageError."""
        if self.settings.project:
            return self.settings.project
        projects = [membership.project for membership in self.api.get_me().memberships]
        if len(projects) == 1:
            return projects[0]
        if not projects:
            raise UsageError(
                f"{self.session.person} is in no project.",
                "Ask your administrator to add you to one in the cluster file.",
            )
        raise UsageError(
            f"You are in several projects: {', '.join(projects)}.",
            f"Say which: `--project {projects[0]}`, NIGHTINGALE_PROJECT, or project in the configuration file.",
        )


def settings_of(args: argparse.Namespace, console: Console) -> Settings:
    """Return the settings of this run. Raises SettingsError."""
    return load_settings(
        console.environ,
        url=getattr(args, "url", None),
        project=getattr(args, "project", None),
        key_file=getattr(args, "key", None),
    )


def connect(args: argparse.Namespace, console: Console) -> Connection:
    """Return a connection with the saved session. Raises NotLoggedInError when there is none."""
    settings = settings_of(args, console)
    session = load_session(settings)
    if session is None:
        raise NotLoggedInError(
            "unauthenticated", f"You are not logged in to {settings.url}.", "Log in with `nightingale login`."
        )
    return Connection(
        Api(settings.url, session.token, others=settings.others, transport=console.transport), settings, session
    )
