"""Which keys give way where the line is too short for all."""

from nightingale_tui.widgets.key_line import too_many

KEYS = {"ask('stop')": 6, "ask('extend')": 8, "ask('quarantine')": 12, "usage": 7, "help": 6, "quit": 6}


def test_nothing_is_left_out_where_all_fits_to_the_cell():
    assert too_many(KEYS, 50) == []
    assert too_many(KEYS, 49) == ["quit"]


def test_the_least_needed_gives_way_first_and_what_must_stay_stays():
    assert too_many(KEYS, 36) == ["quit", "usage"]
    assert set(KEYS) - set(too_many(KEYS, 1)) == {"ask('quarantine')", "help"}
