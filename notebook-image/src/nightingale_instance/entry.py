"""How a browser enters: by a one-time code, which becomes a cookie. There is no password and no token form."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime
from html import escape
from http import HTTPStatus
from pathlib import Path

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import JupyterHandler

from nightingale_instance.codes import MAX_CODE_CHARACTERS, CodeOutcome, take_code
from nightingale_instance.platform_api import PlatformApi, PlatformError

HOW_TO_ENTER = "Run this in your own terminal, which opens a new way in: nightingale open NAME"
_WHY = {
    CodeOutcome.UNKNOWN: "This link is not valid, or it was used before. A link opens Jupyter once.",
    CodeOutcome.EXPIRED: "This link has expired. It is good for a minute.",
}
_ASKING = asyncio.Semaphore(4)
"""Questions to the platform at a time: anyone at the door may bring codes, and one more is answered without it."""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Nightingale</title>
<meta name="viewport" content="width=device-width">
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:4em auto;padding:0 1em}}</style></head>
<body><h1>{title}</h1><p>{why}</p><p>{next_step}</p></body></html>
"""


class _PageHandler(JupyterHandler):  # type: ignore[misc] # jupyter_server: not in mypy's environment
    """Writes a plain page. Nothing of the request is echoed."""

    def set_default_headers(self) -> None:
        """Keep the page and its address out of caches and of other sites' logs."""
        super().set_default_headers()
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "no-referrer")

    def write_page(self, status: HTTPStatus, title: str, why: str) -> None:
        """Answer with `status` and say how to enter."""
        self.set_status(status)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(_PAGE.format(title=escape(title), why=escape(why), next_step=escape(HOW_TO_ENTER)))


class EnterHandler(_PageHandler):
    """GET /nightingale/enter?code=CODE: the code opens one browser session, once."""

    @allow_unauthenticated  # type: ignore[untyped-decorator] # as above
    async def get(self) -> None:
        """Set the login cookie and go on to JupyterLab, or say why not (403)."""
        codes = self.get_query_arguments("code")
        outcome = await self._take(codes[0]) if len(codes) == 1 else CodeOutcome.UNKNOWN
        if outcome is not CodeOutcome.TAKEN:
            self.log.warning("Entry refused: code %s", outcome)
            self.write_page(HTTPStatus.FORBIDDEN, "Not entered", _WHY[outcome])
            return
        person = self.identity_provider.the_person()
        self.identity_provider.set_login_cookie(self, person)
        self.log.info("Entered by a one-time code: %s", person.username)
        self.redirect(self.default_url)

    async def _take(self, code: str) -> CodeOutcome:
        """Return what the code is worth: as a file that the platform wrote, or as the platform itself says of it.

        Where the platform is reached over a network only, as in a cloud, it can write no file here.
        """
        provider = self.identity_provider
        now = datetime.now(UTC)  # noqa: TID251 - no Clock port here: an instance knows the contract only
        outcome = take_code(Path(provider.codes_dir), code, now)
        is_one = 0 < len(code) <= MAX_CODE_CHARACTERS
        if outcome is not CodeOutcome.UNKNOWN or not provider.instance_token_file or not is_one or _ASKING.locked():
            return outcome
        api = PlatformApi(Path(provider.platform_socket), Path(provider.instance_token_file), patience_s=0.0)
        body = {"code_hash": hashlib.sha256(code.encode()).hexdigest()}
        async with _ASKING:
            try:
                answer = await asyncio.to_thread(api.call, "POST", "/codes", body)
            except PlatformError as error:
                self.log.warning("The platform was not asked about a code: %s", error.code)
                return outcome
        return CodeOutcome.TAKEN if answer.get("is_good") is True else outcome


class EnterPageHandler(_PageHandler):
    """GET /login: where Jupyter sends a browser that has not entered."""

    @allow_unauthenticated  # type: ignore[untyped-decorator] # as above
    def get(self) -> None:
        """Say how to enter (403), or go on to JupyterLab when the browser is in already."""
        if self.current_user:
            self.redirect(self.default_url)
            return
        self.write_page(
            HTTPStatus.FORBIDDEN,
            "This Jupyter is locked",
            "This browser has not entered it yet, or the instance was started again since. "
            "There is no password to type.",
        )
