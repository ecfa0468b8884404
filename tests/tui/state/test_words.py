from datetime import timedelta
from decimal import Decimal

import msgspec
import pytest
from rich.cells import cell_len

from nightingale.contract.vocabulary import Status
from nightingale_tui.screens.usage import month_after, usage_rows
from nightingale_tui.state import ListView, SortKey
from nightingale_tui.tunnels import has_browser
from nightingale_tui.widgets import words
from nightingale_tui.widgets.build_words import build_line, build_lines
from nightingale_tui.widgets.instance_rows import Moment, columns_for, rows_for
from nightingale_tui.widgets.row_table import changed_span, fitted
from tui.app.sample_data import CATALOG, INSTANCES, LOGS, NOW, USAGE


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0s"), (45, "45s"), (60, "1m"), (3599, "59m"), (7500, "2h 05m"), (90_000, "1d 01h"), (2_592_000, "30d 00h")],
)
def test_durations_have_two_units_at_most(seconds: int, text: str):
    assert words.duration(seconds) == text


def test_every_status_has_a_sign_and_a_word_of_its_own():
    labels = [words.label_of(status) for status in Status]
    assert len({label.word for label in labels}) == len(labels)
    assert all(cell_len(label.sign) == 1 for label in labels)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"is_quarantined": True, "is_idle": True}, "quarantined"),
        ({"unreachable_since": NOW, "is_idle": True}, "unreachable"),
        ({"is_idle": True}, "running idle"),
        ({}, "running"),
    ],
)
def test_the_most_pressing_fact_is_shown(change: dict[str, object], word: str):
    assert words.status_label(msgspec.structs.replace(INSTANCES[0], **change)).word == word


def test_money_shows_small_prices_and_aligns():
    assert words.money(Decimal("0.0017"), "USD") == "$0.002"
    assert words.money(Decimal("1234.5"), "EUR") == "€1,234.50"
    assert words.money(Decimal(3), "CHF") == "3.000 CHF"


def test_sizes_are_said_by_what_they_mean():
    size = INSTANCES[1].size
    assert words.size_short(size, CATALOG) == "16c 64G 1gpu"
    assert words.size_plain(size, CATALOG) == "16 cores, 64 GiB, 1 A100, 100 GiB disk"
    assert words.size_short(size, None) == "l/l/l"


@pytest.mark.parametrize(("text", "shown"), [("abc", "abc  "), ("abcdef", "abcd…"), ("日本語", "日本…")])
def test_text_is_fitted_to_cells_not_characters(text: str, shown: str):
    assert fitted(text, 5) == shown
    assert cell_len(fitted(text, 5)) == 5
    assert cell_len(fitted(text, 5, is_right=True)) == 5


@pytest.mark.parametrize("width", range(70, 200))
def test_the_columns_never_take_more_than_the_width(width: int):
    columns = columns_for(width, INSTANCES, ListView(), "USD")
    assert sum(column.width + 2 for column in columns) + 1 <= max(width, 80)
    assert {"name", "status", "size", "cost", "stops", "uptime"} <= {column.key for column in columns}


def test_a_wide_screen_has_every_column_and_the_order_is_marked():
    columns = columns_for(170, INSTANCES, ListView(sort=SortKey.COST), "EUR")
    titles = [column.title for column in columns]
    assert titles[:4] == ["NAME", "OWNER", "STATUS", "SIZE"]
    assert {"COST▾", "€/H", "PLACE", "ACTIVE", "REASON"} <= set(titles)


def test_a_column_that_says_nothing_is_left_out():
    alone = [one for one in INSTANCES if one.owner == "ada" and one.place == "local" and one.reason is None]
    keys = {column.key for column in columns_for(170, alone, ListView(), "USD")}
    assert not keys & {"owner", "place", "reason"}


def test_a_row_has_a_cell_for_each_column():
    columns = columns_for(80, INSTANCES, ListView(), "USD")
    row = rows_for(columns, INSTANCES, Moment(NOW + timedelta(seconds=1), CATALOG))[0]
    assert [cell.text for cell in row.cells] == ["fastmri-unet", "● running", "4c 16G", "2h 04m", "0.732", "1h 01m"]


def test_terraform_events_become_words_and_noise_is_left_out():
    assert build_lines(LOGS["build"]) == [
        "nightingale: init took 0.1 s",
        "· Plan: 2 to add, 0 to change, 0 to destroy.",
        "· terraform_data.instance: Creating...",
        "  launcher: pid 4711",
        "✓ terraform_data.instance: Creation complete after 0s",
        "✗ No room: full",
    ]


@pytest.mark.parametrize("line", ["plain", "{not json", '{"some":"document"}', "[1,2]", ""])
def test_a_line_that_is_no_terraform_event_is_shown_as_it_came(line: str):
    assert build_line(line) == line


def test_months_go_over_the_end_of_the_year():
    assert month_after("2026-12", 1) == "2027-01"
    assert month_after("2026-01", -1) == "2025-12"


def test_usage_is_dearest_first_with_names_for_ids_and_a_bar_of_its_share():
    rows = usage_rows(USAGE.by_instance, USAGE.total, {"i-0000000002": "cine"}, 10)
    assert [row.cells[0].text for row in rows] == ["cine", "i-0000000001", "i-0000000012"]
    assert rows[0].cells[1].text == "41.2"
    assert [len(row.cells[5].text) for row in rows] == [8, 1, 0]


@pytest.mark.parametrize(
    ("environ", "platform", "has"),
    [
        ({"DISPLAY": ":0"}, "linux", True),
        ({}, "linux", False),
        ({"SSH_CONNECTION": "1 2 3 4", "DISPLAY": ":10"}, "linux", False),
        ({"SSH_TTY": "/dev/pts/1"}, "darwin", False),
        ({}, "darwin", True),
        ({"BROWSER": "my-browser", "SSH_TTY": "x"}, "linux", True),
    ],
)
def test_no_browser_is_started_inside_an_ssh_session(environ: dict[str, str], platform: str, has: bool):  # noqa: FBT001 - a table's column
    assert has_browser(environ, platform) is has


@pytest.mark.parametrize(
    ("before", "after", "span"),
    [
        ("◐ starting", "◓ starting", (0, 1)),
        ("1h 01m", "1h 02m", (4, 5)),
        ("same", "same", (4, 4)),
        ("日本", "日語", (2, 4)),
    ],
)
def test_only_the_cells_that_differ_are_drawn(before: str, after: str, span: tuple[int, int]):
    assert changed_span(before, after) == span
