"""Hits become episodes one by one or in SQL: the same."""

from __future__ import annotations

import random

from doubles.finding_rules import correlated, moment, rule
from nightingale_findings.engine.episodes import COLUMNS, FEW, HITS, in_sql, joined, parts
from nightingale_findings.engine.settings import opened

RULES = (rule("plain", "true", episode_s=40), correlated("counted", "event_count", [(">", 1)], episode_s=1))


def test_episodes_are_the_same_one_by_one_and_in_sql():
    draw = random.Random(6)  # noqa: S311 - made-up hits
    hits = {
        f"e{place:03}": (
            draw.choice(("plain", "counted", "unknown")),
            draw.choice((["ada", None], [None, None], ["bo", "x"], [])),
            draw.choice(("ada", "ada", "bo", None)),
            draw.choice(("i-1", None)),
            "p-1",
            moment(draw.randrange(6000)).replace(tzinfo=None),
            draw.choice((None, 1.0, 2.5)),
        )
        for place in range(FEW)
    }
    with opened(threads=1) as connection:
        connection.execute(f"CREATE TEMP TABLE {HITS} ({COLUMNS})")
        connection.executemany(
            f"INSERT INTO {HITS} VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - a table's name of ours
            [[*hit[:5], event, *hit[5:]] for event, hit in hits.items()],
        )
        one_by_one = parts(connection, RULES)
        in_one = in_sql(connection, RULES, HITS)
    assert len(one_by_one) > 20
    assert {part.rule for part in one_by_one} == {"plain", "counted"}
    assert one_by_one == joined(in_one, RULES)
