"""Who a request is from: the person this instance belongs to, or nobody."""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from jupyter_server.auth.identity import IdentityProvider, User
from tornado import web
from traitlets import Unicode

from nightingale_instance.entry import EnterHandler, EnterPageHandler
from nightingale_instance.settings import read_token

ENTRY_DAYS = 7
"""A browser that entered stays in so long at most; the cookie's key is new at each start of the server anyway."""


class PersonIdentityProvider(IdentityProvider):  # type: ignore[misc] # jupyter_server: not in mypy's environment
    """Everyone who proves the token or holds the cookie is the one person the instance belongs to.

    Jupyter's own `token` trait stays empty: what Jupyter does not know it cannot put into a page, a file or a log.
    """

    person = Unicode(help="Name of the person the instance belongs to.").tag(config=True)
    instance = Unicode(help="Id of the instance.").tag(config=True)
    token_file = Unicode(help="File (mode 0600) that holds the token for programs.").tag(config=True)
    codes_dir = Unicode(help="Folder of one-time codes.").tag(config=True)
    platform_socket = Unicode(help="The platform's API for this instance.").tag(config=True)
    instance_token_file = Unicode(help="File of its token for that; empty: none.").tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        """Read the token; SettingsError when its file is not what it must be."""
        super().__init__(**kwargs)
        self.token = ""
        self.set_trait("updatable_fields", [])  # the name is the platform's to give
        # The cookie is named by the instance, not by host and port: tunnels change ports, and a browser sends
        # localhost's cookies to every port of it.
        self.cookie_name = f"nightingale-{self.instance}"
        self.cookie_options = {"samesite": "Lax", "expires_days": ENTRY_DAYS}
        self.get_secure_cookie_kwargs = {"max_age_days": ENTRY_DAYS}
        self._expected = read_token(Path(self.token_file)).encode()

    def the_person(self) -> User:
        """Return the user that every authenticated request is from."""
        return User(
            username=self.person,
            name=self.person,
            display_name=self.person,
            initials=self.person[:2].upper(),
            avatar_url=None,
            color=None,
        )

    def get_user(self, handler: web.RequestHandler) -> User | Awaitable[User | None] | None:
        """Return the user, or None; 403 when a token stands in the URL."""
        if "token" in handler.request.query_arguments:
            handler.current_user = None  # the error page asks who is there
            raise web.HTTPError(
                HTTPStatus.FORBIDDEN,
                "A token must not stand in a URL: histories and logs keep those. A program sends it in the "
                "Authorization header; to open a browser, run: nightingale open NAME",
            )
        return super().get_user(handler)

    def get_token(self, handler: web.RequestHandler) -> str | None:
        """Return the token of the Authorization header, or None."""
        match = self.auth_header_pat.match(handler.request.headers.get("Authorization", ""))
        return match.group(2) if match else None

    async def get_user_token(self, handler: web.RequestHandler) -> User | None:
        """Return the person if the header's token is right, compared in constant time."""
        given = self.get_token(handler)
        if given is None or not hmac.compare_digest(given.encode(), self._expected):
            return None
        return self.the_person()

    def set_login_cookie(self, handler: web.RequestHandler, user: User) -> None:
        """Give a browser its cookie. A program that sends the token gets none: it needs none, and might keep it."""
        if self.get_token(handler) is None:
            super().set_login_cookie(handler, user)

    def user_to_cookie(self, user: User) -> str:
        """Return what the signed cookie holds: the name and the instance it was made for."""
        return json.dumps({"person": user.username, "instance": self.instance})

    def user_from_cookie(self, cookie_value: str) -> User | None:
        """Return the person if the cookie was made for them and for this instance, else None."""
        held = json.loads(cookie_value)
        if held != {"person": self.person, "instance": self.instance}:
            return None
        return self.the_person()

    def get_handlers(self) -> list[tuple[str, object]]:
        """Return the pages of entering and leaving."""
        return [
            (r"/nightingale/enter", EnterHandler),
            (r"/login", EnterPageHandler),
            (r"/logout", self.logout_handler_class),
        ]

    def process_login_form(self, handler: web.RequestHandler) -> User | None:  # noqa: ARG002 # Jupyter's signature
        """Return None: no form leads in."""
        return None
