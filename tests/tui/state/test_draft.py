import pytest

from nightingale_tui import draft as d
from nightingale_tui.state import Problem
from tui.app.sample_data import CATALOG

FIRST = d.first_draft(CATALOG)


def test_a_first_draft_is_the_smallest_of_everything_without_a_gpu():
    assert (FIRST.cpu, FIRST.memory, FIRST.gpu, FIRST.disk) == ("s", "s", "none", "s")
    assert (FIRST.place, FIRST.image) == ("local", "default")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90m", 5400), ("3h", 10800), ("2d", 172_800), ("1d 12h", 129_600), ("1h30m", 5400), (" 2 H ", 7200), ("", None)],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: int | None):
    assert d.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["3", "h", "later", "-3h", "0m", "31d", "1h 2x"])
def test_anything_else_is_no_duration(text: str):
    with pytest.raises(ValueError, match=r"Write a time|From one minute"):
        d.parse_duration(text)


@pytest.mark.parametrize("name", ["", "Big", "i-abc", "-x", "x_y", "a" * 33, "7up"])
def test_a_bad_name_is_told_beside_its_field(name: str):
    assert "name" in d.checked(d.changed(FIRST, "name", name)).wrong


@pytest.mark.parametrize("name", ["a", "unet-baseline", "x9", "a" * 32])
def test_a_good_name_passes(name: str):
    assert not d.checked(d.changed(FIRST, "name", name)).wrong


def test_changing_a_field_forgets_what_was_wrong_with_it_and_nothing_else():
    wrong = d.checked(d.changed(d.changed(FIRST, "name", "BAD"), "stop_after", "soon"))
    assert set(wrong.wrong) == {"name", "stop_after"}
    assert set(d.changed(wrong, "name", "good").wrong) == {"stop_after"}


def test_a_refusal_lands_beside_the_field_it_is_about_and_keeps_what_was_typed():
    typed = d.changed(FIRST, "name", "unet")
    refused = d.refused(typed, Problem("name_taken", "unet is taken.", "Choose another name."))
    assert refused.name == "unet"
    assert refused.wrong["name"] == "unet is taken."
    assert refused.wrong[""] == "Choose another name."


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("name", "name"),
        ("size.gpu", "gpu"),
        ("datasets[1]", "datasets"),
        ("stop_after_seconds", "stop_after"),
        ("odd", ""),
    ],
)
def test_details_of_a_refusal_find_their_field(path: str, field: str):
    refused = d.refused(FIRST, Problem("invalid", "No.", details=((path, "not so"),)))
    assert "not so" in refused.wrong[field]


def test_a_refusal_about_the_whole_says_what_happened_and_what_next():
    refused = d.refused(FIRST, Problem("forbidden", "You may not launch.", "Ask your lead."))
    assert refused.wrong[""] == "You may not launch. Ask your lead."


def test_the_same_form_sent_again_has_the_same_request_id_and_a_changed_one_another():
    typed = d.changed(FIRST, "name", "unet")
    first = d.launch_request(typed, "nonce")
    assert d.launch_request(typed, "nonce") == first
    assert d.launch_request(typed, "other").request_id != first.request_id
    assert d.launch_request(d.changed(typed, "cpu", "m"), "nonce").request_id != first.request_id


def test_the_request_carries_everything_that_was_chosen():
    draft = d.changed(d.changed(d.changed(FIRST, "name", "unet"), "datasets", ("dicom-demo",)), "stop_after", "3h")
    request = d.launch_request(draft, "nonce")
    assert (request.name, request.datasets, request.stop_after_seconds) == ("unet", ("dicom-demo",), 10_800)


def test_an_estimate_is_for_the_stop_time_or_one_hour():
    assert d.estimate_request(FIRST).for_seconds == 3600
    assert d.estimate_request(d.changed(FIRST, "stop_after", "2d")).for_seconds == 172_800
    assert d.estimate_request(d.changed(FIRST, "stop_after", "soon")).for_seconds == 3600
