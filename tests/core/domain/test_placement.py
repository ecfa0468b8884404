"""The rule by which a place is chosen, against the rule said a second time, for any cluster and any wish."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightingale.contract.errors import ErrorCode
from nightingale.contract.schemas import (
    CpuIn,
    DatasetIn,
    GibIn,
    ImageIn,
    MachineIn,
    PlaceIn,
    ProjectIn,
    RateIn,
    Size,
)
from nightingale.domain.catalog import Cluster, Sizes
from nightingale.domain.errors import RefusedError
from nightingale.domain.history import Mount
from nightingale.domain.placement import Placement, Wish, choose, offers, require_home

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
AWAY = RefusedError(ErrorCode.INVALID, "the platform does not run it", "Start it.")
PLACES = {"here": "local", "fra": "aws", "dub": "aws", "blue": "azure", "run": "gcp"}
_SMALL = (MachineIn(type="small", cores=1, gib=1),)
_LARGE = (MachineIn(type="large", cores=4, gib=8),)


def made_cluster(
    prices: dict[str, int | None],
    *,
    allowed: tuple[str, ...] = (),
    dataset_at: frozenset[str] = frozenset(PLACES),
    tier: int = 0,
    image_at: frozenset[str] = frozenset(PLACES),
    large_at: frozenset[str] = frozenset(PLACES),
) -> Cluster:
    """Return a cluster with a place of each of `prices` (None: no rate), one dataset, one image."""
    return Cluster(
        revision=1,
        version=1,
        currency="EUR",
        projects={"brain": ProjectIn(name="brain", datasets=("ct",), places=allowed)},
        sizes=Sizes.of(
            [CpuIn(name="s", cores=1), CpuIn(name="m", cores=4)], [GibIn(name="s", gib=1)], [], [GibIn(name="s", gib=1)]
        ),
        images={"default": ImageIn(name="default", sources=dict.fromkeys(sorted(image_at), "image"))},
        datasets={
            "ct": DatasetIn(name="ct", version="1", tier=tier, sources=dict.fromkeys(sorted(dataset_at), "/data/ct"))
        },
        places={
            name: PlaceIn(name=name, kind=PLACES[name], machines=_LARGE if name in large_at else _SMALL)
            for name in sorted(prices)
        },
        rates=[
            RateIn(
                effective=date(2026, 1, 1),
                place=name,
                cpu={"s": Decimal(price), "m": Decimal(price)},
                memory={"s": Decimal(0)},
                disk_gib=Decimal(0),
            )
            for name, price in prices.items()
            if price is not None
        ],
    )


class Counted(dict[str, RefusedError]):
    """No place is unready; counts how often each is asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()

    def get(self, key: str, default: Any = None) -> Any:
        self.asked[key] += 1
        return super().get(key, default)


def wish(*, tier: int | None = None, cpu: str = "s") -> Wish:
    mounts = () if tier is None else (Mount("ct", "1", tier),)
    return Wish("brain", Size(cpu=cpu), mounts, NOW, "default")


some_places = st.frozensets(st.sampled_from(sorted(PLACES)))


@given(
    prices=st.dictionaries(
        st.sampled_from(sorted(PLACES)), st.one_of(st.none(), st.integers(1, 3)), min_size=1, max_size=5
    ),
    allowed=st.lists(st.sampled_from([*sorted(PLACES), "local", "aws", "azure", "gcp"]), max_size=4, unique=True),
    dataset_at=some_places,
    image_at=some_places,
    large_at=some_places,
    away=some_places,
    tier=st.one_of(st.none(), st.integers(0, 3)),
    cpu=st.sampled_from(["s", "m"]),
    wanted=st.sampled_from(["auto", "aws", "local"]),
)
def test_the_place_taken_is_the_one_that_the_rule_says(
    *, prices, allowed, dataset_at, image_at, large_at, away, tier, cpu, wanted
):
    cluster = made_cluster(
        prices, allowed=tuple(allowed), dataset_at=dataset_at, tier=tier or 0, image_at=image_at, large_at=large_at
    )
    unready = dict.fromkeys(away, AWAY)

    def fits(name: str) -> bool:
        kind = PLACES[name]
        return (
            prices[name] is not None
            and (not allowed or name in allowed or kind in allowed)
            and (tier is None or (name in dataset_at and (kind != "gcp" or tier < 2)))
            and name in image_at
            and (kind == "local" or cpu == "s" or name in large_at)
            and name not in away
        )

    def entry(name: str) -> int:
        return min((at for at, one in enumerate(allowed) if one in {name, PLACES[name]}), default=0)

    fitting = sorted((name for name in prices if fits(name)), key=lambda name: (entry(name), prices[name], name))
    asked = [name for name in fitting if wanted in {"auto", PLACES[name]}]
    if not asked:
        with pytest.raises(RefusedError) as caught:
            choose(cluster, wish(tier=tier, cpu=cpu), wanted, unready)
        assert caught.value.message
        return
    found = choose(cluster, wish(tier=tier, cpu=cpu), wanted, unready)
    assert found.place == asked[0]
    assert found.elsewhere == (tuple(name for name in fitting if name != asked[0]) if wanted == "auto" else ())
    possible = [offer.place.name for offer in offers(cluster, wish(tier=tier, cpu=cpu), unready) if not offer.refusal]
    assert possible == fitting


def test_a_place_asked_for_by_name_is_taken_whatever_others_cost():
    cluster = made_cluster({"here": 3, "fra": 1})
    found = choose(cluster, wish(), "here", {})
    assert found == Placement("here", "asked for by name (3 EUR an hour)", ())


def test_a_name_comes_before_a_kind():
    cluster = made_cluster({"fra": 1, "dub": 2}, allowed=("dub", "aws"))
    assert choose(cluster, wish(), "auto", {}).place == "dub"


def test_elsewhere_begins_with_the_kind_that_was_asked_for():
    cluster = made_cluster({"here": 1, "fra": 2, "dub": 3})
    found = choose(cluster, wish(), "aws", {}, is_elsewhere=True)
    assert (found.place, found.elsewhere) == ("fra", ("dub", "here"))
    assert choose(cluster, wish(), "dub", {}, is_elsewhere=True).elsewhere == ("here", "fra")
    assert choose(cluster, wish(), "aws", {}).elsewhere == ()


def test_the_answer_says_why_this_place_and_what_kept_the_others_out():
    cluster = made_cluster(
        {"here": 1, "fra": 2, "dub": 2}, allowed=("here", "aws"), dataset_at=frozenset({"fra", "dub"})
    )
    assert choose(cluster, wish(tier=0), "auto", {}).why == (
        "auto: the first of brain's places that can take it, the cheapest of 2 alike (2 EUR an hour); "
        "not here: dataset ct does not lie in here"
    )


def test_where_no_place_can_take_it_each_says_why():
    cluster = made_cluster({"here": 1, "run": 1}, dataset_at=frozenset({"run"}), tier=2)
    with pytest.raises(RefusedError) as caught:
        choose(cluster, wish(tier=2), "auto", {})
    assert caught.value.details[1:] == (
        ("place", "here: dataset ct does not lie in here"),
        ("place", "run: run (gcp) holds data up to tier 1, this is tier 2"),
    )
    assert caught.value.next_step


@pytest.mark.parametrize(("tier", "is_refused"), [(0, False), (1, False), (2, True), (3, True)])
def test_cloud_run_holds_no_tier_above_1(tier, is_refused):
    cluster = made_cluster({"run": 1}, tier=tier)
    if not is_refused:
        require_home(cluster, "brain", "run", (Mount("ct", "1", tier),))
        return
    with pytest.raises(RefusedError, match="up to tier 1"):
        require_home(cluster, "brain", "run", (Mount("ct", "1", tier),))


def test_a_place_that_the_project_does_not_name_is_refused_with_those_it_names():
    cluster = made_cluster({"here": 1, "fra": 1}, allowed=("here",))
    with pytest.raises(RefusedError, match="brain may not run instances in fra") as caught:
        choose(cluster, wish(), "fra", {})
    assert "here" in caught.value.next_step


def test_what_is_no_place_and_no_kind_is_refused_with_what_there_is():
    with pytest.raises(RefusedError, match="there is no place moon; there is: here"):
        choose(made_cluster({"here": 1}), wish(), "moon", {})
    with pytest.raises(RefusedError, match="no place of kind azure of brain can take this: it has none"):
        choose(made_cluster({"here": 1}), wish(), "azure", {})


@pytest.mark.parametrize("wanted", ["auto", "aws"])
def test_each_place_is_asked_once_however_many_are_tried_after_it(wanted: str) -> None:
    cluster = made_cluster({"here": 3, "fra": 2, "dub": 1})
    unready = Counted()
    assert choose(cluster, wish(), wanted, unready, is_elsewhere=True).elsewhere
    assert unready.asked == {"here": 1, "fra": 1, "dub": 1}


def test_offers_that_were_made_before_are_not_made_again() -> None:
    cluster = made_cluster({"here": 3, "fra": 2, "dub": 1})
    unready = Counted()
    every = offers(cluster, wish(), unready)
    assert choose(cluster, wish(), "auto", unready, is_elsewhere=True, every=every) == choose(
        cluster, wish(), "auto", {}, is_elsewhere=True
    )
    assert unready.asked == {"here": 1, "fra": 1, "dub": 1}
