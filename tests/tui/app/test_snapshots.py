"""How each screen looks, at the smallest size we promise and at a roomy one. The clock stands, nothing turns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from textual.pilot import Pilot

from nightingale.contract import findings as f
from tui.app.running import Parts, loaded, make_parts, until
from tui.app.sample_data import NOW
from tui.app.sample_findings import FINDINGS, LONG

SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
Steps = Callable[[Pilot[int], Parts], Awaitable[None]]


def is_settled(parts: Parts) -> bool:
    screen = parts.app.screen
    return screen.focused is not None or not any(table.display for table in screen.query("#instances"))


@pytest.fixture
def looks_the_same(snap_compare):
    """Return a check that the app looks as accepted after `steps`."""

    def check(parts: Parts, size: tuple[int, int], steps: Steps | None = None) -> bool:
        async def before(pilot: Pilot[int]) -> None:
            await loaded(pilot)
            if steps is not None:
                await steps(pilot, parts)
            parts.app.workers.cancel_group(parts.app, "poll")  # what is seen now is what is compared
            for cursor in parts.app.screen.query("Input"):
                cursor.cursor_blink = False
            # a footer and a focus settle in their own time
            await until(pilot, lambda: is_settled(parts))
            await pilot.pause()
            await pilot.pause()

        # asyncio.run in the main thread would drop the loop that pytest-asyncio keeps there, unclosed
        with ThreadPoolExecutor(1) as thread:
            return bool(thread.submit(snap_compare, parts.app, terminal_size=size, run_before=before).result())

    return check


@SIZES
def test_ten_instances_of_every_status(looks_the_same, size):
    assert looks_the_same(make_parts(), size)


@SIZES
def test_no_instances(looks_the_same, size):
    assert looks_the_same(make_parts(()), size)


@SIZES
def test_a_platform_that_never_answered(looks_the_same, size):
    parts = make_parts()
    parts.platform.is_down = True
    assert looks_the_same(parts, size)


@SIZES
def test_a_platform_that_stopped_answering(looks_the_same, size):
    async def steps(pilot: Pilot[int], parts: Parts) -> None:
        parts.platform.is_down = True
        parts.clock.step(seconds=12)
        parts.app.controller.poll_soon()
        await until(pilot, lambda: parts.app.controller.feed.problem)

    assert looks_the_same(make_parts(), size, steps)


@SIZES
def test_an_ended_login(looks_the_same, size):
    parts = make_parts()
    parts.platform.is_expired = True
    assert looks_the_same(parts, size)


@SIZES
def test_the_launch_form(looks_the_same, size):
    async def steps(pilot: Pilot[int], parts: Parts) -> None:
        await pilot.press("l", *"unet-baseline")
        await until(pilot, lambda: "billed" in str(parts.app.screen.query_one("#price").content))

    assert looks_the_same(make_parts(), size, steps)


@SIZES
@pytest.mark.parametrize("place", ["auto", "aws-eu"])
def test_the_launch_form_in_other_places(looks_the_same, size, place):
    async def steps(pilot: Pilot[int], parts: Parts) -> None:
        await pilot.press("l", *"unet-baseline")
        parts.app.screen.query_one("#place").value = place
        await until(pilot, lambda: "possible too" in str(parts.app.screen.query_one("#price").content))
        if place == "aws-eu":
            parts.app.screen.query_one("#spot").value = "relaunched"
            await until(pilot, lambda: "spot: " in str(parts.app.screen.query_one("#price").content))

    assert looks_the_same(make_parts(), size, steps)


@SIZES
def test_the_launch_form_with_everything_wrong(looks_the_same, size):
    async def steps(pilot: Pilot[int], parts: Parts) -> None:
        await pilot.press("l", *"Unet")
        parts.app.screen.query_one("#stop_after").value = "soon"
        await until(pilot, lambda: "billed" in str(parts.app.screen.query_one("#price").content))
        await pilot.press("ctrl+s")

    assert looks_the_same(make_parts(), size, steps)


@SIZES
@pytest.mark.parametrize("instance", ["i-0000000001", "i-0000000008"], ids=["running", "failed"])
def test_the_details(looks_the_same, size, instance):
    async def steps(pilot: Pilot[int], parts: Parts) -> None:
        parts.app.go_to(instance)
        await pilot.press("enter")
        await until(pilot, lambda: parts.platform.called("list_history"))

    assert looks_the_same(make_parts(), size, steps)


@SIZES
def test_the_history(looks_the_same, size):
    async def steps(pilot: Pilot[int], parts: Parts) -> None:
        await pilot.press("enter", "2")
        await until(pilot, lambda: "retry_asked" in str(parts.app.screen.query_one("#history-text").content))

    assert looks_the_same(make_parts(), size, steps)


@SIZES
def test_the_build(looks_the_same, size):
    async def steps(pilot: Pilot[int], parts: Parts) -> None:
        await pilot.press("enter", "3")
        await until(pilot, lambda: len(parts.app.screen.query_one("#build-lines").lines) > 4)

    assert looks_the_same(make_parts(), size, steps)


@SIZES
def test_the_reads(looks_the_same, size):
    async def steps(pilot: Pilot[int], parts: Parts) -> None:
        await pilot.press("enter", "5")
        await until(pilot, lambda: len(parts.app.screen.query_one("#reads-lines").lines) > 4)

    assert looks_the_same(make_parts(), size, steps)


@SIZES
def test_the_question_before_a_deletion(looks_the_same, size):
    async def steps(pilot: Pilot[int], _parts: Parts) -> None:
        await pilot.press("d", *"fastmri")

    assert looks_the_same(make_parts(), size, steps)


@SIZES
def test_the_resize_dialog(looks_the_same, size):
    async def steps(pilot: Pilot[int], parts: Parts) -> None:
        await pilot.press("z")
        parts.app.screen.query_one("#gpu").value = "l"
        await until(pilot, lambda: "$3.330" in str(parts.app.screen.query_one("#prices").content))

    assert looks_the_same(make_parts(), size, steps)


@SIZES
def test_the_usage(looks_the_same, size):
    async def steps(pilot: Pilot[int], parts: Parts) -> None:
        await pilot.press("u")
        await until(pilot, lambda: "billed" in str(parts.app.screen.query_one("#totals").content))

    assert looks_the_same(make_parts(), size, steps)


def test_the_list_in_light_colours(looks_the_same):
    parts = make_parts()
    parts.app.theme = "textual-light"
    assert looks_the_same(parts, (80, 24))


def test_the_list_without_colours(looks_the_same, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert looks_the_same(make_parts(), (80, 24))


def test_the_list_on_sixteen_colours(looks_the_same):
    parts = make_parts()
    parts.app.theme = "ansi-dark"
    assert looks_the_same(parts, (80, 24))


@pytest.mark.slow
@SIZES
@pytest.mark.parametrize("what", ["list", "one", "note"])
def test_findings_of_every_severity(looks_the_same, size, what):
    async def steps(pilot: Pilot[int], parts: Parts) -> None:
        parts.app.findings.poll()
        await until(pilot, lambda: parts.app.findings.feed.fetched_at)
        parts.app.clear_notifications()
        await pilot.press("f")
        await until(pilot, lambda: parts.app.screen.query("#findings") and parts.app.screen.selected)
        await until(pilot, lambda: parts.app.findings.instance_of(parts.app.screen.selected))
        if what != "list":
            await pilot.press("enter")
            await until(pilot, lambda: "list-2" in str(parts.app.screen.query_one("#finding-text").content))
        if what == "note":
            await pilot.press("x")
            await until(pilot, lambda: parts.app.screen.query("#typed"))

    parts = make_parts()
    parts.platform.is_admin = True
    parts.platform.held = {"i-0000000001"}
    assert looks_the_same(parts, size, steps)


STATES = {
    "empty": (),
    "nothing_matches": FINDINGS,
    "never_scanned": (),
    "failing": FINDINGS,
    "partly_scanned": FINDINGS,
    "partly_scanned_and_empty": (),
    "long": (*FINDINGS[:1], LONG),
    "auditor": FINDINGS,
}
PARTLY = f.ScanOut(
    state="partial",
    words="The CloudTrail of s3://hospital-trails/AWSLogs/ has not been read since 2026-11-21 09:12:30Z: it could not "
    "be read: AWS refused it (AccessDenied). Look at the permissions of the function's role. Everything else is "
    "scanned.",
)
SCANS = {
    "never_scanned": f.ScanOut(state="never", words="No scan of the logs has run yet."),
    "partly_scanned": PARTLY,
    "partly_scanned_and_empty": PARTLY,
    "failing": f.ScanOut(state="failing", failing_since=NOW, words="the disk of the logs is full", undelivered=3),
}


@pytest.mark.slow
@SIZES
@pytest.mark.parametrize("what", STATES)
def test_findings_where_there_is_little_or_much_to_show(looks_the_same, size, what):
    async def steps(pilot: Pilot[int], parts: Parts) -> None:
        parts.app.findings.poll()
        await until(pilot, lambda: parts.app.findings.feed.fetched_at)
        parts.app.clear_notifications()
        await pilot.press("f")
        await until(pilot, lambda: parts.app.screen.query("#findings"))
        if what == "nothing_matches":
            await pilot.press("slash", *"zebra", "enter")
        if what == "long":
            await pilot.press("j", "enter")
            await until(pilot, lambda: "list-2" in str(parts.app.screen.query_one("#finding-text").content))
            await until(pilot, lambda: parts.app.findings.instance_of(parts.app.screen.selected))

    parts = make_parts()
    parts.platform.is_admin, parts.platform.is_auditor = what != "auditor", what == "auditor"
    parts.platform.findings = {one.id: one for one in STATES[what]}
    parts.platform.scan = SCANS.get(what, parts.platform.scan)
    assert looks_the_same(parts, size, steps)
