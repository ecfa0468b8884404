"""What the app says of policies: why an instance is up, what comes soon, when the schedule starts it again."""

from datetime import timedelta

from nightingale.contract.vocabulary import ReasonCode, Status
from nightingale_tui.widgets.facts import reason_words
from nightingale_tui.widgets.overview import overview_words
from tui.app.sample_data import KILLED, NOW, instance


def test_the_overview_says_why_it_is_up_and_warns() -> None:
    one = instance(
        1,
        "scan",
        Status.RUNNING,
        stops_at=NOW + timedelta(minutes=9),
        stops_why=ReasonCode.IDLE,
        why_up="Up since nine.",
        warning="Stops soon: run something in it.",
    )
    lines = overview_words(one, NOW, None, 80).plain.splitlines()
    assert " why          Stops soon: run something in it." in lines
    assert " why up       Up since nine." in lines
    assert any(line.startswith(" stops        in 9m") for line in lines)


def test_the_overview_says_when_the_schedule_starts_it_again() -> None:
    one = instance(1, "scan", Status.STOPPED, starts_at=NOW + timedelta(hours=9), why_up="It starts at six.")
    assert " starts       It starts at six." in overview_words(one, NOW, None, 80).plain.splitlines()


def test_what_has_happened_goes_before_what_comes_soon() -> None:
    failed = instance(1, "scan", Status.FAILED, reason=KILLED, warning="Stops soon.")
    assert reason_words(failed, NOW).startswith(KILLED.words)
    idle = instance(1, "scan", Status.RUNNING, is_idle=True, warning="Stops soon.")
    assert reason_words(idle, NOW) == "Stops soon."
