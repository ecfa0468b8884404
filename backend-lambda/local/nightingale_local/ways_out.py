"""Every known way to take something out through Jupyter's HTTP API, and what each tier makes of it.

A letter for each tier, 0 to 3:
    r  what was planted leaves, and that is recorded as allowed      R  nothing planted is in it, but it is recorded
    o  it leaves unrecorded: state of a kernel's or the browser's own making, kept small where tiers forbid more
    .  answered, with nothing planted in it                          >  answered by a redirect
    x  refused with 403 and words, and the refusal is recorded
    -  refused, or not there at all; nothing to record
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from nightingale_local.demo_material import HIDDEN, MARK, SCAN, SENSITIVE, TABLE
from nightingale_local.planting import COPY, notebook

IN_BASE64 = b"TUFSS0VS"
_BEYOND = ("outside", "/etc/passwd", "hidden", ".ipynb_checkpoints/", "labextensions", "/lab/extensions/")
"""What no tier gives: of other folders, hidden, or laid where Jupyter serves its own."""


@dataclass(frozen=True)
class Way:
    """One request, and the letter of what becomes of it at each tier."""

    method: str
    target: str
    tiers: str
    json: object = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes | None:
        """What is sent."""
        return None if self.json is None else json.dumps(self.json).encode()

    def is_forbidden(self, tier: int) -> bool:
        """Return whether it tries to take out what this tier forbids: what tier 0 gives or records, or no tier gives.

        What nothing could leave by (a page that is not there, a method that is none) is no attempt.
        """
        letter, at_open = self.tiers[tier], self.tiers[0]
        return letter == "x" or (letter == "-" and (at_open != "-" or any(one in self.target for one in _BEYOND)))

    def is_recorded(self, tier: int) -> bool:
        """Return whether a refusal at this tier is recorded."""
        return self.tiers[tier] == "x"


def misjudged(way: Way, letter: str, status: int, body: bytes) -> str | None:
    """Return what is wrong with an answer where the table has this letter, or None."""
    left = MARK in body or IN_BASE64 in body
    kind = status // 100
    has_words = way.method == "HEAD" or b"This instance mounts" in body
    right = {
        "r": (kind, left) == (2, True),
        "o": (kind, left) == (2, True),
        "R": not left,
        ".": (kind, left) == (2, False),
        ">": (kind, left) == (3, False),
        "x": status == HTTPStatus.FORBIDDEN and not left and has_words,
        "-": (kind, left) == (4, False),
    }[letter]
    said = f"{status}{', with what was planted' if left else ''}: {body[:200]!r}"
    return None if right else f"{way.method} {way.target} should be {letter!r}, and was {said}"


WAYS = (
    # files
    Way("GET", "/files/note.txt", "rrxx"),
    Way("GET", "/files/note.txt?download=1", "rrxx"),
    Way("GET", "/files/note.txt/", "rrxx"),
    Way("GET", "/files/note.txt", "rrxx", headers={"Range": "bytes=0-5"}),
    Way("HEAD", "/files/note.txt", "..xx"),
    Way("GET", "/files/n.ipynb", "rrxx"),
    Way("GET", "/files/page.html", "rrxx"),
    Way("GET", f"/files/data/{SENSITIVE}/{SCAN}", "rrxx"),
    Way("GET", f"/files/data/{SENSITIVE}/{HIDDEN}", "--xx"),
    Way("GET", f"/files/{COPY}", "rrxx"),
    Way("GET", "/files/.hidden", "--xx"),
    Way("GET", "/files/link-hidden", "--xx"),
    Way("GET", "/files/link-data-hidden", "--xx"),
    Way("GET", "/files/link-out", "--xx"),
    Way("GET", "/files/link-folder/outside.txt", "--xx"),
    Way("GET", "/files/../outside/outside.txt", "--xx"),
    Way("GET", "/files/%2e%2e/outside/outside.txt", "--xx"),
    Way("GET", "/files/..%2foutside%2foutside.txt", "--xx"),
    Way("GET", "/files//etc/passwd", "--xx"),
    Way("GET", "/files/", "--xx"),
    Way("GET", "//files/note.txt", "----"),
    Way("POST", "/files/note.txt", "----"),
    Way("PUT", "/files/note.txt", "----", json={}),
    Way("OPTIONS", "/files/note.txt", "----"),
    Way("GET", "/view/page.html", "..--"),
    # exports
    Way("GET", "/nbconvert/html/n.ipynb", "rr--"),
    Way("GET", "/nbconvert/script/n.ipynb?download=true", "rr--"),
    Way("GET", "/nbconvert/markdown/big.ipynb", "rr--"),
    Way("GET", "/nbconvert/html/note.txt", "..--"),
    Way("POST", "/nbconvert/script", "rr--", json={"name": "n.ipynb", "content": notebook("MARKER")}),
    Way("GET", "/api/nbconvert", "..--"),
    # contents
    Way("GET", "/api/contents/note.txt", "rrrr"),
    Way("GET", "/api/contents/note.txt?type=file&format=base64", "rrrr"),
    Way("GET", "/api/contents/n.ipynb", "rrrr"),
    Way("GET", "/api/contents/n.ipynb?type=file&format=text", "rrrr"),
    Way("GET", f"/api/contents/data/{SENSITIVE}/{TABLE}", "rrrr"),
    Way("GET", "/api/contents/scan.dcm", "rrxx"),
    Way("GET", "/api/contents/scan.dcm?type=file&format=base64", "rrxx"),
    Way("GET", "/api/contents/scan.dcm?type=file&format=text", "--xx"),
    Way("GET", "/api/contents/scan.dcm?type=notebook", "--xx"),
    Way("GET", f"/api/contents/data/{SENSITIVE}/{SCAN}?format=base64", "rrxx"),
    Way("GET", f"/api/contents/{COPY}?format=base64", "rrxx"),
    Way("GET", "/api/contents/big.txt", "rrxx"),
    Way("GET", "/api/contents/big.txt?format=base64", "rrxx"),
    Way("GET", "/api/contents/big.ipynb", "rrxx"),
    Way("GET", "/api/contents/big.txt?content=0", "...."),
    Way("GET", "/api/contents/big.txt?content=0&hash=1", "...."),
    Way("GET", "/api/contents/names", "..xx"),
    Way("GET", "/api/contents", "...."),
    Way("GET", "/api/contents/", "...."),
    Way("GET", "/api/contents/.hidden", "----"),
    Way("GET", "/api/contents/link-hidden", "----"),
    Way("GET", "/api/contents/link-data-hidden?format=base64", "----"),
    Way("GET", "/api/contents/link-out", "----"),
    Way("GET", "/api/contents/link-folder", "----"),
    Way("GET", "/api/contents/link-folder/outside.txt", "----"),
    Way("GET", "/api/contents/../outside/outside.txt", "----"),
    Way("GET", "/api/contents/%2e%2e/outside/outside.txt", "----"),
    Way("GET", "/api/contents/..%2foutside%2foutside.txt", "----"),
    Way("HEAD", "/api/contents/note.txt", "----"),
    Way("OPTIONS", "/api/contents/note.txt", "...."),
    Way("GET", "/api/notebooks/note.txt", ">>>>"),
    # a copy, another name, a checkpoint: nothing leaves by them, and what is then asked for is the same bytes
    Way("POST", "/api/contents/", "....", json={"copy_from": "scan.dcm"}),
    Way("GET", "/api/contents/scan-Copy1.dcm", "rrxx"),
    Way("PATCH", "/api/contents/scan-Copy1.dcm", "....", json={"path": "scan.txt"}),
    Way("GET", "/api/contents/scan.txt", "rrxx"),
    Way("POST", "/api/contents/", "----", json={"copy_from": "link-out"}),
    Way("PUT", "/api/contents/new.txt", "....", json={"type": "file", "format": "text", "content": "MARKER"}),
    Way("POST", "/api/contents/n.ipynb/checkpoints", "...."),
    Way("GET", "/api/contents/n.ipynb/checkpoints", "...."),
    Way("POST", "/api/contents/n.ipynb/checkpoints/checkpoint", "...."),
    Way("GET", "/api/contents/.ipynb_checkpoints/n-checkpoint.ipynb", "----"),
    Way("GET", "/files/.ipynb_checkpoints/n-checkpoint.ipynb", "--xx"),
    Way("POST", "/api/contents/n.ipynb/trust", "...."),
    Way("DELETE", "/api/contents/new.txt", "...."),
    # what Jupyter reads from places that a kernel can write into
    Way("GET", "/lab/extensions/leak/data.txt", "----"),
    Way("GET", "/lab/extensions/../kernels/leak/data.bin", "----"),
    Way("GET", "/kernelspecs/leak/data.bin", "rr--"),
    Way("GET", "/kernelspecs/leak/../../../../../note.txt", "----"),
    Way("GET", "/kernelspecs/python3/logo-svg.svg", "...."),
    Way("GET", "/api/kernelspecs", "oo.."),
    Way("GET", "/api/kernelspecs/leak", "oo--"),
    Way("PUT", "/lab/api/workspaces/w", "....", json={"data": {"k": "MARKER"}, "metadata": {"id": "w"}}),
    Way("GET", "/lab/api/workspaces/w", "oooo"),
    Way("PUT", "/lab/api/workspaces/w", "....", json={"data": {"k": "MARKER" * 50_000}, "metadata": {"id": "w"}}),
    Way("GET", "/lab/api/workspaces/w", "ooxx"),
    Way("GET", "/lab/api/workspaces", "ooxx"),
    Way("PUT", "/api/config/c", "....", json={"k": "MARKER" * 50_000}),
    Way("GET", "/api/config/c", "ooxx"),
    Way("GET", "/lab/api/settings", "...."),
    Way("GET", "/lab/api/settings/@jupyterlab/apputils-extension:themes", "...."),
    Way("GET", "/lab/api/translations", "...."),
    Way("GET", "/lab/api/translations/en", "...."),
    Way("GET", "/lab/api/licenses/", "...."),
    Way("GET", "/lab/api/listings/x", "----"),
    Way("GET", "/lab/api/themes/@jupyterlab/theme-light-extension/index.css", "...."),
    Way("GET", "/lab/api/themes/../../../../../../../../etc/passwd", "----"),
    Way("GET", "/static/lab/../../../../../../../../etc/passwd", "----"),
    Way("GET", "/static/logo/logo.png", "...."),
    Way("GET", "/static/../../../../../../../../etc/passwd", "----"),
    Way("GET", "/static/%2e%2e/%2e%2e/etc/passwd", "----"),
    # nothing is installed, built or switched
    Way("GET", "/lab/api/extensions", "...."),
    Way("POST", "/lab/api/extensions", "----", json={"cmd": "install", "extension_name": "jupyterlab-git"}),
    Way("GET", "/lab/api/plugins", "...."),
    Way("POST", "/lab/api/plugins", "----", json={"cmd": "enable", "plugin_name": "@jupyterlab/terminal-extension"}),
    Way("POST", "/lab/api/build", "----"),
    Way("DELETE", "/lab/api/build", "----"),
    Way("GET", "/lab/api/news", "...."),
    Way("GET", "/lab/api/update", "...."),
    # terminals, kernels, the server
    Way("GET", "/api/terminals", "..--"),
    Way("POST", "/api/terminals", "RR--", json={"name": "1"}),
    Way("GET", "/api/terminals/1", "..--"),
    Way("GET", "/terminals/websocket/1", "RR--"),  # no upgrade asked for: 400; see the tests of terminals
    Way("DELETE", "/api/terminals/1", "RR--"),
    Way("GET", "/api/kernels", "...."),
    Way("GET", "/api/kernels/00000000-0000-0000-0000-000000000000", "----"),
    Way("POST", "/api/kernels/00000000-0000-0000-0000-000000000000/interrupt", "----"),
    Way("GET", "/api/kernels/00000000-0000-0000-0000-000000000000/channels", "----"),
    Way("GET", "/api/sessions", "...."),
    Way("GET", "/api/sessions/00000000-0000-0000-0000-000000000000", "----"),
    Way("GET", "/api/events/subscribe", "----"),
    Way("POST", "/api/events", "----", json={"schema_id": "x", "version": "1", "data": {}}),
    Way("GET", "/api/me", "...."),
    Way("PATCH", "/api/me", "----", json={"name": "eve"}),
    Way("GET", "/api/resolvePath?path=/etc/passwd", "...."),
    Way("GET", "/api/status", "...."),
    Way("GET", "/api/spec.yaml", "...."),
    Way("POST", "/api/security/csp-report", "....", json={}),
    Way("GET", "/metrics", "...."),
    Way("GET", "/api", "...."),
    Way("POST", "/api/shutdown", "----"),
    Way("GET", "/lsp/status", "----"),
    Way("GET", "/tree", "----"),
    Way("GET", "/none", "----"),
    # pages
    Way("GET", "/lab", "...."),
    Way("GET", "/lab/tree/note.txt", "...."),
    Way("GET", "/lab/none", "...."),
    Way("GET", "/robots.txt", "----"),
    Way("GET", "/favicon.ico", "...."),
    Way("GET", "/login", ">>>>"),
    Way("GET", "/logout", "...."),
    Way("GET", "/nightingale/enter", "----"),
    Way("GET", "/none/", ">>>>"),
    Way("GET", "/", ">>>>"),
)
