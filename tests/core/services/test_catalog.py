"""The catalogue: one cheap read while nothing changes, prices of today, datasets of one's own projects."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal

import msgspec
import pytest

from doubles.clusters import ADMIN, apply_cluster, small_cluster
from doubles.machines import FakeMachines
from doubles.stores import FailingStore
from nightingale.contract.errors import ErrorCode
from nightingale.contract.schemas import EstimateIn, Money, Size
from nightingale.contract.vocabulary import Plan, Reach, Role
from nightingale.domain.access import Access, Principal
from nightingale.domain.errors import RefusedError
from nightingale.services.catalog import CatalogService

GRACE = Principal("grace", roles=(("heart", Role.LEAD),))


class CountingStore(FailingStore):
    """Counts reads."""

    gets = queries = 0

    def get(self, key):
        self.gets += 1
        return super().get(key)

    def query(self, partition, **options):
        self.queries += 1
        return super().query(partition, **options)


@pytest.fixture
def catalog(store, clock):
    apply_cluster(store)
    return CatalogService(store, {"local": FakeMachines(clock)}, clock)


def test_the_cluster_is_read_once_while_nothing_changes(store, clock):
    apply_cluster(store)
    counting = CountingStore(store)
    catalog = CatalogService(counting, {}, clock)
    first = catalog.load()
    counting.gets = counting.queries = 0
    assert catalog.load() is first
    assert (counting.gets, counting.queries) == (1, 0)
    apply_cluster(store, small_cluster(images=()))
    assert catalog.load().images == {}
    assert catalog.load().revision == 2


def test_before_the_first_file_there_is_nothing(store, clock):
    cluster = CatalogService(store, {}, clock).load()
    assert (cluster.revision, dict(cluster.projects), cluster.currency) == (0, {}, "XXX")


def test_threads_never_see_half_of_an_apply(store, clock):
    one, other = small_cluster(), small_cluster(images=(), datasets=(), projects=())
    apply_cluster(store, one)
    catalog = CatalogService(store, {}, clock)

    def look(_):
        cluster = catalog.load()
        return (len(cluster.images), len(cluster.datasets), len(cluster.projects))

    with ThreadPoolExecutor(4) as pool:
        seen = pool.map(look, range(200))
        for turn in range(6):
            apply_cluster(store, other if turn % 2 == 0 else one)
        assert set(seen) <= {(2, 3, 2), (0, 0, 0)}


def test_prices_are_those_of_today_by_place(catalog, clock):
    found = catalog.catalog(GRACE)
    assert [(size.name, size.cores, size.price_per_hour) for size in found.cpu] == [
        ("s", 1, {"aws": Decimal("0.05"), "local": Decimal("0.01")}),
        ("m", 2, {"local": Decimal("0.0333333333")}),
        ("xl", 16, {"aws": Decimal("1.7")}),
    ]
    assert [(size.name, size.count, size.price_per_hour["local"]) for size in found.gpu] == [
        ("none", 0, Decimal(0)),
        ("s", 1, Decimal("0.4")),
    ]
    assert [(size.gib, size.price_per_hour["local"]) for size in found.disk] == [
        (5, Decimal("0.0005")),
        (20, Decimal("0.0020")),
    ]
    clock.advance(timedelta(days=1))
    assert catalog.catalog(GRACE).cpu[0].price_per_hour["local"] == Decimal("0.02")


def test_a_person_sees_the_datasets_of_their_projects_and_an_administrator_all(catalog):
    assert [(d.name, d.projects) for d in catalog.catalog(GRACE).datasets] == [("ecg-demo", ("heart",))]
    assert [(d.name, d.projects) for d in catalog.catalog(ADMIN).datasets] == [
        ("ct-demo", ("brain",)),
        ("ecg-demo", ("heart",)),
        ("mr-demo", ("brain",)),
    ]
    assert catalog.catalog(Principal("nobody")).datasets == ()


def test_places_say_whether_a_sandbox_works_and_images_where_they_are(catalog):
    found = catalog.catalog(GRACE)
    assert [(place.name, place.sandbox) for place in found.places] == [("aws", None), ("local", "bubblewrap")]
    assert [(image.name, image.places) for image in found.images] == [("cloud-only", ()), ("default", ("local",))]


def test_an_estimate_prices_the_time_and_bills_by_plan(catalog):
    wanted = EstimateIn(size=Size(cpu="m"), for_seconds=5400)
    paid = catalog.estimate(Access(GRACE, "brain", Reach.ANY), wanted)
    assert paid.per_hour == Money(amount=Decimal("0.0388333333"), currency="EUR")
    assert paid.list_price.amount == paid.billed.amount == Decimal("0.058250")
    assert paid.plan is Plan.PRIVATE
    free = catalog.estimate(Access(GRACE, "heart", Reach.ANY), wanted)
    assert (free.list_price, free.billed.amount, free.plan) == (paid.list_price, Decimal(0), Plan.NONPROFIT)


def test_an_estimate_of_what_is_not_there_is_refused(catalog):
    with pytest.raises(RefusedError) as caught:
        catalog.estimate(Access(GRACE, "brain", Reach.ANY), EstimateIn(size=Size(cpu="xl")))
    assert caught.value.code is ErrorCode.INVALID
    with pytest.raises(RefusedError) as caught:
        catalog.estimate(Access(GRACE, "liver", Reach.ANY), EstimateIn())
    assert caught.value.code is ErrorCode.NOT_FOUND


def test_an_unknown_person_or_key_is_none(catalog):
    assert catalog.find_person("nobody") is None
    assert catalog.person_by_fingerprint("SHA256:nothing") is None
    assert catalog.find_person("hedy").is_admin


def test_a_catalogue_goes_over_the_wire(catalog):
    assert msgspec.json.decode(msgspec.json.encode(catalog.catalog(ADMIN)))["currency"] == "EUR"
