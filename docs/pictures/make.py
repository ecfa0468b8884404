"""Draw the pictures of the documentation: the app's own SVG over a sample platform in memory, the same every time.

python docs/pictures/make.py [folder]      writes *.svg, into this folder by default
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tests"))  # the sample platform is shared with the tests

from tui.app.running import Parts, loaded, make_parts, until  # noqa: E402 - found by the line above

SIZE = (100, 26)
_PICTURES: dict[str, tuple[tuple[str, ...], Callable[[Parts], object]]] = {
    "instances": ((), lambda parts: parts.app.controller.feed.fetched_at),
    "launch": (("l", *"unet-baseline"), lambda parts: "billed" in _text(parts, "#price")),
    "detail": (("enter",), lambda parts: parts.platform.called("list_history")),
    "usage": (("u",), lambda parts: "billed" in _text(parts, "#totals")),
    "findings": (("f",), lambda parts: "quarantined" in _text(parts, "#facts")),
    "finding": (("f", "enter"), lambda parts: "list-2" in _text(parts, "#finding-text")),
}
_ADMINISTRATORS = frozenset({"findings", "finding"})


def _text(parts: Parts, selector: str) -> str:
    return str(parts.app.screen.query_one(selector).content)


async def draw(keys: tuple[str, ...], is_ready: Callable[[Parts], object], *, is_admin: bool) -> str:
    """Return the app's SVG once `keys` are pressed and `is_ready` holds."""
    parts = make_parts()
    parts.platform.is_admin, parts.platform.held = is_admin, {"i-0000000001"}
    async with parts.app.run_test(size=SIZE) as pilot:
        await loaded(pilot)
        if is_admin:
            parts.app.findings.poll()
            await until(pilot, lambda: parts.app.findings.feed.fetched_at)
            parts.app.clear_notifications()
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
        await until(pilot, lambda: is_ready(parts))
        for field in parts.app.screen.query("Input"):
            field.cursor_blink = False
        await pilot.pause()
        return parts.app.export_screenshot(title="Nightingale", simplify=True)


def stable(svg: str) -> str:
    """Return the SVG with its random id replaced, so that an unchanged app draws an unchanged file."""
    found = svg.split('class="terminal-', 1)
    random_id = found[1].split("-", 1)[0] if len(found) > 1 else ""
    return svg.replace(f"terminal-{random_id}", "terminal") if random_id.isdigit() else svg


def main(folder: Path) -> None:
    """Write every picture into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (keys, is_ready) in _PICTURES.items():
        path = folder / f"{name}.svg"
        path.write_text(stable(asyncio.run(draw(keys, is_ready, is_admin=name in _ADMINISTRATORS))), encoding="utf-8")
        print(path, file=sys.stderr)  # noqa: T201 - a script that says what it wrote


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
