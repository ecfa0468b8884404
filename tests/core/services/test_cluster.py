"""The cluster file: what is wrong with it, what it changes, and applying it whole or not at all."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from doubles.clocks import START, FixedClock
from doubles.clusters import ADMIN, apply_cluster, rate, small_cluster
from doubles.lives import Life
from doubles.platforms import given
from doubles.signatures import FakeSignatures
from doubles.stores import FailingStore
from nightingale.contract import schemas as s
from nightingale.contract.errors import ErrorCode
from nightingale.contract.vocabulary import Role
from nightingale.domain.errors import RefusedError
from nightingale.domain.history import EventName
from nightingale.ports.audit_log import AuditLogUnavailableError
from nightingale.ports.store import ConditionFailedError, StoreUnavailableError
from nightingale.services import records
from nightingale.services.catalog import CatalogService, ClusterMeta
from nightingale.services.cluster import ClusterService
from nightingale.services.cluster_state import read_stored

KEYS = FakeSignatures()
replace = msgspec.structs.replace


@pytest.fixture
def service(store, clock, audit_log):
    return ClusterService(store, clock, audit_log, FakeSignatures())


def refusal(service, cluster) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        service.plan(ADMIN, s.ClusterPlanIn(cluster=cluster))
    return caught.value


def plan(service, cluster):
    found = service.plan(ADMIN, s.ClusterPlanIn(cluster=cluster))
    return [(change.verb, change.key, change.before, change.after) for change in found.changes]


def everything(store):
    stored = read_stored(store)
    return stored.state, stored.meta.revision


def test_the_first_file_adds_everything_and_gives_the_first_revision(service):
    first = plan(service, small_cluster())
    assert {verb for verb, *_ in first} == {"add"}
    assert ("add", "currency", None, '"EUR"') in first
    assert ("add", "sizes.cpu.m", None, '{"cores":2}') in first
    applied = service.apply(ADMIN, s.ClusterApplyIn(cluster=small_cluster(), base=0))
    assert applied.revision == 1
    assert [change.key for change in applied.changes] == [key for _, key, _, _ in first]


def test_the_same_file_twice_changes_nothing(service, audit_log):
    service.apply(ADMIN, s.ClusterApplyIn(cluster=small_cluster(), base=0))
    facts = len(audit_log.tags())
    assert plan(service, small_cluster()) == []
    again = service.apply(ADMIN, s.ClusterApplyIn(cluster=small_cluster(), base=1))
    assert (again.revision, again.changes, len(audit_log.tags())) == (1, (), facts)


def test_order_and_trailing_zeros_are_no_change(service):
    service.apply(ADMIN, s.ClusterApplyIn(cluster=small_cluster(), base=0))
    cluster = small_cluster()
    brain = cluster.projects[0]
    turned = replace(brain, members=brain.members[::-1], datasets=brain.datasets[::-1])
    spelled = rate("2026-01-01", cpu={"s": "0.0100", "m": "333333333E-10"})
    cluster = replace(
        cluster,
        people=cluster.people[::-1],
        projects=(cluster.projects[1], turned),
        rates=(spelled, *cluster.rates[1:]),
    )
    assert plan(service, cluster) == []


def test_a_change_names_its_key_and_shows_before_and_after(store, service):
    apply_cluster(store)
    cluster = small_cluster()
    ada = replace(cluster.people[0], keys=(*cluster.people[0].keys, KEYS.key("ada-new")))
    sizes = replace(cluster.sizes, cpu=(*cluster.sizes.cpu[:1], s.CpuIn(name="m", cores=3), cluster.sizes.cpu[2]))
    dearer = rate("2026-01-01", cpu={"s": "0.015", "m": "0.0333333333"})
    changed = replace(
        cluster, people=(ada, *cluster.people[1:]), sizes=sizes, rates=(dearer, *cluster.rates[1:]), images=()
    )
    found = plan(service, changed)
    assert [entry[:2] for entry in found] == [
        ("change", "people.ada.keys"),
        ("change", "sizes.cpu.m.cores"),
        ("remove", "images.cloud-only"),
        ("remove", "images.default"),
        ("change", "rates.local.2026-01-01.cpu.s"),
    ]
    assert found[1][2:] == ("2", "3")
    assert found[4][2:] == ('"0.01"', '"0.015"')


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"people": (s.PersonIn(name="a", keys=()), s.PersonIn(name="a", keys=()))}, "people[1].name", "already"),
        ({"people": (s.PersonIn(name="a", keys=("ssh-rsa !",)),)}, "people[0].keys[0]", "no public key"),
        (
            {"people": (s.PersonIn(name="a", keys=(KEYS.key("x"),)), s.PersonIn(name="b", keys=(KEYS.key("x"),)))},
            "people[1].keys[0]",
            "people[0].keys[0]",
        ),
        (
            {"people": (s.PersonIn(name="a", keys=(), uid=10_001), s.PersonIn(name="b", keys=(), uid=10_001))},
            "people[1].uid",
            "belongs to a",
        ),
        (
            {"projects": (s.ProjectIn(name="p", members=(s.MemberIn(person="nobody", role=Role.LEAD),)),)},
            "projects[0].members[0].person",
            "no person nobody",
        ),
        (
            {"projects": (s.ProjectIn(name="p", members=(s.MemberIn(person="ada", role=Role.LEAD),) * 2),)},
            "projects[0].members[1].person",
            "one role",
        ),
        ({"projects": (s.ProjectIn(name="p", datasets=("none",)),)}, "projects[0].datasets[0]", "no dataset none"),
        ({"places": (s.PlaceIn(name="aws", kind="aws"),)}, "rates[0].place", "no place local"),
        (
            {"rates": (rate("2026-01-01", cpu={"s": "1", "m": "1"}),)},
            "sizes.cpu[2]",
            "prices cpu size xl",
        ),
        (
            {"rates": (*small_cluster().rates, rate("2026-11-03", cpu={"s": "1"}))},
            "rates[3].effective",
            "already",
        ),
        ({"rates": (rate("2026-01-01", cpu={"s": "1", "m": "1", "xl": "-1"}),)}, "rates[0].cpu.xl", "from 0"),
        ({"rates": (rate("2026-01-01", cpu={"s": "1", "m": "1", "xl": "NaN"}),)}, "rates[0].cpu.xl", "from 0"),
        ({"rates": (rate("2026-01-01", cpu={"s": "1", "m": "1", "xl": "Infinity"}),)}, "rates[0].cpu.xl", "from 0"),
        ({"rates": (rate("2026-01-01", cpu={"s": "1", "m": "1", "xl": "1E-11"}),)}, "rates[0].cpu.xl", "10 decimals"),
        (
            {"rates": (rate("2026-01-01", cpu={"s": "1", "m": "1", "xl": "1", "xxl": "1"}),)},
            "rates[0].cpu.xxl",
            "no cpu size xxl",
        ),
        (
            {"datasets": (*small_cluster().datasets, s.DatasetIn(name="d", version="1", local="data/d"))},
            "datasets[3].local",
            "absolute",
        ),
        (
            {"datasets": (*small_cluster().datasets, s.DatasetIn(name="d", version="1", local="/data/../etc"))},
            "datasets[3].local",
            "absolute",
        ),
    ],
)
def test_a_mistake_is_named_by_its_path_and_nothing_is_changed(store, service, change, path, words):
    if "people" in change:
        change = {**change, "projects": ()}
    error = refusal(service, small_cluster(**change))
    assert error.code is ErrorCode.INVALID
    assert path in dict(error.details), error.details
    assert words in dict(error.details)[path]
    with pytest.raises(RefusedError):
        service.apply(ADMIN, s.ClusterApplyIn(cluster=small_cluster(**change), base=0))
    assert everything(store)[1] == 0


def test_the_currency_stays_once_there_is_a_cluster(store, service):
    apply_cluster(store)
    error = refusal(service, small_cluster(currency="USD"))
    assert dict(error.details)["currency"] == "the currency is EUR and stays it: usage is recorded and owed in it"


def test_uids_are_given_once_and_never_again(store, service):
    apply_cluster(store)
    catalog = CatalogService(store, {}, FixedClock())
    assert {name: catalog.find_person(name).uid for name in ("ada", "grace", "hedy")} == {
        "ada": 10_000,
        "grace": 20_000,
        "hedy": 10_001,
    }
    cluster = small_cluster(projects=())
    bob = s.PersonIn(name="bob", keys=())
    apply_cluster(store, replace(cluster, people=(bob, *cluster.people[1:])))
    assert catalog.find_person("bob").uid == 10_002
    taken = replace(cluster, people=(s.PersonIn(name="eve", keys=(), uid=10_000),))
    assert "belongs to ada" in dict(refusal(service, taken).details)["people[0].uid"]
    moved = replace(cluster, people=(s.PersonIn(name="grace", keys=(), uid=30_000),))
    assert "never changes" in dict(refusal(service, moved).details)["people[0].uid"]
    apply_cluster(store)
    assert catalog.find_person("ada").uid == 10_000


def test_a_person_who_leaves_the_file_becomes_inactive_and_their_keys_open_nothing(store):
    apply_cluster(store)
    catalog = CatalogService(store, {}, FixedClock())
    fingerprint = KEYS.fingerprint_of(KEYS.key("ada"))
    ada = catalog.person_by_fingerprint(fingerprint)
    assert (ada.name, ada.is_active, ada.is_admin, ada.roles) == ("ada", True, False, (("brain", Role.LEAD),))
    cluster = small_cluster()
    brain = replace(cluster.projects[0], members=cluster.projects[0].members[1:])
    apply_cluster(store, replace(cluster, people=cluster.people[1:], projects=(brain, cluster.projects[1])))
    assert catalog.person_by_fingerprint(fingerprint) is None
    assert store.get(records.ssh_key_key(fingerprint)) is None
    left = catalog.find_person("ada")
    assert (left.is_active, left.roles, left.keys, left.full_name) == (False, (), (), "Ada L")


def test_a_key_that_moves_to_another_person_opens_as_them(store):
    apply_cluster(store)
    cluster = small_cluster()
    fingerprint = KEYS.fingerprint_of(KEYS.key("ada"))
    for owner in ("grace", "ada", "hedy", "ada"):
        people = tuple(
            replace(person, keys=(KEYS.key("ada"),) if person.name == owner else ()) for person in cluster.people
        )
        apply_cluster(store, replace(cluster, people=people))
        assert CatalogService(store, {}, FixedClock()).person_by_fingerprint(fingerprint).name == owner


def test_a_project_with_instances_cannot_go_and_they_are_named(store, service):
    apply_cluster(store)
    life = Life(store=store)
    smaller = small_cluster(projects=small_cluster().projects[1:])
    assert "scan" in dict(refusal(service, smaller).details)["projects"]
    for name in (EventName.BUILD_FAILED, EventName.DELETE, EventName.BUILD_SUCCEEDED):
        life.apply(name, START)
    assert "not metered yet" in dict(refusal(service, smaller).details)["projects"]


def test_a_size_or_rate_that_an_instance_needs_cannot_go(store, service):
    apply_cluster(store)
    Life(store=store)
    sizes = replace(small_cluster().sizes, memory=(s.GibIn(name="m", gib=4),))
    rates = tuple(replace(entry, memory={"m": Decimal(1)}) for entry in small_cluster().rates)
    assert "scan of brain" in dict(refusal(service, small_cluster(sizes=sizes, rates=rates)).details)["sizes.memory"]
    later = (rate("2026-11-03", cpu={"s": "1", "m": "1"}), small_cluster().rates[2])
    assert "no prices on 2026-11-02" in dict(refusal(service, small_cluster(rates=later)).details)["rates"]


def test_a_plan_made_before_another_apply_is_refused_and_changes_nothing(store, service, audit_log):
    apply_cluster(store)
    before, facts = everything(store), audit_log.tags()
    with pytest.raises(RefusedError) as caught:
        service.apply(ADMIN, s.ClusterApplyIn(cluster=small_cluster(images=()), base=0))
    assert caught.value.code is ErrorCode.CLUSTER_CHANGED
    assert (everything(store), audit_log.tags()) == (before, facts)


class OvertakenStore(FailingStore):
    """Lets somebody else apply a file after this one has read and before it writes."""

    overtake: Any = None

    def transact(self, writes):
        overtake, self.overtake = self.overtake, None
        if overtake is not None:
            overtake()
        super().transact(writes)


def test_of_two_appliers_at_once_one_is_refused_before_it_wrote_anything(store, clock, audit_log):
    apply_cluster(store)
    overtaken = OvertakenStore(store)
    theirs = small_cluster(images=(s.ImageIn(name="theirs", local="x"),))
    overtaken.overtake = lambda: apply_cluster(store, theirs)
    service = ClusterService(overtaken, clock, audit_log, FakeSignatures())
    with pytest.raises(RefusedError) as caught:
        service.apply(ADMIN, s.ClusterApplyIn(cluster=small_cluster(images=()), base=1))
    assert caught.value.code is ErrorCode.CLUSTER_CHANGED
    state, revision = everything(store)
    assert (list(state.entries["IMAGE"]), revision) == (["theirs"], 2)
    assert audit_log.tags() == []


def big_cluster() -> s.ClusterIn:
    cluster = small_cluster()
    crowd = tuple(s.PersonIn(name=f"p{n}", keys=(KEYS.key(f"p{n}"),)) for n in range(150))
    return replace(cluster, people=(*cluster.people, *crowd))


class CutShortStore(FailingStore):
    """Dies at the n-th transaction from now on."""

    left = 0

    def transact(self, writes):
        self.left -= 1
        if self.left == 0:
            self.is_away = True
        super().transact(writes)


@pytest.mark.parametrize("at_transaction", [1, 2, 3, 4, 5])
def test_an_apply_cut_short_anywhere_is_made_good_by_applying_again(store, clock, audit_log, at_transaction):
    apply_cluster(store)
    catalog = CatalogService(store, {}, clock)
    seen = catalog.load()
    dying = CutShortStore(store)
    dying.left = at_transaction
    service = ClusterService(dying, clock, audit_log, FakeSignatures())
    wanted = s.ClusterApplyIn(cluster=replace(big_cluster(), images=()), base=1)
    with pytest.raises(StoreUnavailableError):
        service.apply(ADMIN, wanted)
    assert everything(store)[1] == 1
    assert catalog.load() is seen
    for n in range(150):
        person = catalog.find_person(f"p{n}")
        pointer = store.get(records.ssh_key_key(KEYS.fingerprint_of(KEYS.key(f"p{n}"))))
        assert (person is None) == (pointer is None)
    service = ClusterService(store, clock, audit_log, FakeSignatures())
    assert service.apply(ADMIN, wanted).revision == 2
    assert plan(service, wanted.cluster) == []
    assert service.apply(ADMIN, s.ClusterApplyIn(cluster=wanted.cluster, base=2)).changes == ()
    assert catalog.load().images == {}
    assert catalog.person_by_fingerprint(KEYS.fingerprint_of(KEYS.key("p149"))).name == "p149"


def test_what_cannot_be_recorded_does_not_happen(store, service, audit_log):
    apply_cluster(store)
    before = everything(store)
    audit_log.break_down()
    with pytest.raises(AuditLogUnavailableError):
        service.apply(ADMIN, s.ClusterApplyIn(cluster=small_cluster(images=()), base=1))
    assert everything(store) == before
    audit_log.mend()
    assert service.apply(ADMIN, s.ClusterApplyIn(cluster=small_cluster(images=()), base=1)).revision == 2
    (event,) = audit_log.events()
    assert (event.tag, event.actor) == ("cluster:apply:succeeded", "operator")
    assert event.detail["keys"] == "remove:images.cloud-only remove:images.default"


class TakenOverStore(FailingStore):
    """Lets somebody else take META between this apply's second and third transaction."""

    transactions = 0
    then: Any = None

    def transact(self, writes):
        self.transactions += 1
        if self.transactions == 3:
            self.then = everything(self.inner)
            self.inner.put(given(self.inner.get(records.CLUSTER_META)))
        super().transact(writes)


def test_a_slow_applier_that_was_taken_over_writes_no_more(store, clock, audit_log):
    apply_cluster(store)
    slow = TakenOverStore(store)
    service = ClusterService(slow, clock, audit_log, FakeSignatures())
    with pytest.raises(RefusedError) as caught:
        service.apply(ADMIN, s.ClusterApplyIn(cluster=big_cluster(), base=1))
    assert isinstance(caught.value.__cause__, ConditionFailedError)
    assert slow.then is not None
    assert everything(store) == slow.then


def test_what_runs_is_given_as_a_file_that_changes_nothing(store, service):
    cluster = small_cluster()
    brain = cluster.projects[0]
    apply_cluster(store, replace(cluster, projects=(cluster.projects[1], replace(brain, members=brain.members[::-1]))))
    left = replace(small_cluster(), people=(*small_cluster().people, s.PersonIn(name="leaver", keys=())))
    apply_cluster(store, left)
    apply_cluster(store)
    found = service.get(ADMIN)
    assert found.revision == 3
    assert plan(service, found.cluster) == []
    assert [(person.name, person.uid) for person in found.cluster.people] == [
        ("ada", 10_000),
        ("grace", 20_000),
        ("hedy", 10_001),
    ]
    assert [size.name for size in found.cluster.sizes.cpu] == ["s", "m", "xl"]
    assert list(found.cluster.rates[1].cpu) == ["s", "m"]
    wire = msgspec.json.encode(found)
    assert msgspec.json.decode(wire, type=s.ClusterOut) == found
    assert msgspec.json.encode(service.get(ADMIN)) == wire


def test_a_cluster_that_is_none_or_is_being_changed_is_not_given(store, service):
    with pytest.raises(RefusedError) as none_yet:
        service.get(ADMIN)
    assert none_yet.value.code is ErrorCode.NOT_FOUND
    apply_cluster(store)
    item = store.get(records.CLUSTER_META)
    store.put(replace(item, document=records.encode(ClusterMeta(1, "EUR", is_applying=True))))
    with pytest.raises(RefusedError) as changing:
        service.get(ADMIN)
    assert changing.value.code is ErrorCode.CLUSTER_CHANGED
