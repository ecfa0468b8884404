"""The fakes keep the promises that other tests lean on."""

from __future__ import annotations

import pytest

from doubles import (
    CountingIds,
    FailingStore,
    FakeBuilder,
    FakeMachines,
    FakeProber,
    FakeSignatures,
    FixedClock,
    LaggingStore,
    MemoryAuditLog,
    StepBackClock,
)
from nightingale.contract.build import BuildSpec
from nightingale.contract.vocabulary import Action, BuildState, DesiredState, ReasonCode
from nightingale.ports.audit_log import AuditEvent, AuditLog, AuditLogUnavailableError
from nightingale.ports.builder import Builder, BuilderUnavailableError
from nightingale.ports.clock import Clock, Ids
from nightingale.ports.machines import Machines, MachineState
from nightingale.ports.prober import ProbeOutcome, Prober
from nightingale.ports.signatures import SignatureError, SignatureVerifier
from nightingale.ports.store import ConditionFailedError, Item, Key, Store, StoreUnavailableError


def _spec(build_id: str, state: DesiredState, generation: int = 1) -> BuildSpec:
    return BuildSpec(
        build_id=build_id,
        instance_id="i-0000000001",
        generation=generation,
        action=Action.LAUNCH,
        desired_state=state,
        place="local",
        variables={},
        timeout_seconds=60,
    )


def test_every_double_is_what_its_port_asks_for(store: Store) -> None:
    clock: Clock = FixedClock()
    ids: Ids = CountingIds()
    machines: Machines = FakeMachines(clock)
    builder: Builder = FakeBuilder(clock)
    prober: Prober = FakeProber()
    signatures: SignatureVerifier = FakeSignatures()
    audit_log: AuditLog = MemoryAuditLog()
    stores: list[Store] = [store, LaggingStore(store), FailingStore(store)]
    assert all((clock, ids, machines, builder, prober, signatures, audit_log, stores))


def test_a_fixed_clock_moves_only_when_told_and_only_forward() -> None:
    clock = FixedClock()
    before = clock.now()
    clock.advance(1.6)
    assert (clock.now() - before).total_seconds() == 1
    clock.advance(0.4)
    assert (clock.now() - before).total_seconds() == 2
    with pytest.raises(ValueError, match="forward"):
        clock.advance(-1)


def test_a_step_back_clock_goes_back_at_the_reading_it_was_told() -> None:
    clock = StepBackClock(after=2, back_s=30)
    first, second, third = clock.now(), clock.now(), clock.now()
    assert (first - second).total_seconds() == 30
    assert second == third


def test_an_index_that_lags_shows_a_write_after_it_caught_up(store: Store) -> None:
    lagging = LaggingStore(store)
    for name in ("a", "b", "c"):
        lagging.put(Item(Key("p", name), {}, {"index1": Key("i", name)}))
    assert lagging.query_index("index1", "i").items == ()
    assert lagging.get(Key("p", "a")) is not None
    lagging.catch_up()
    assert lagging.query_index("index1", "i") == store.query_index("index1", "i")
    lagging.delete(Key("p", "b"), 1)
    page = lagging.query_index("index1", "i", limit=2)
    assert [item.key.sort for item in page.items] == ["a", "b"]
    rest = lagging.query_index("index1", "i", limit=2, cursor=page.cursor)
    assert [item.key.sort for item in rest.items] == ["c"]


def test_a_failing_store_loses_the_answer_but_may_keep_the_write(store: Store) -> None:
    failing = FailingStore(store)
    failing.fail_writes(1)
    with pytest.raises(StoreUnavailableError):
        failing.put(Item(Key("p", "lost"), {}))
    failing.fail_writes(1, is_written=True)
    with pytest.raises(StoreUnavailableError):
        failing.put(Item(Key("p", "kept"), {}))
    assert [item.key.sort for item in store.query("p").items] == ["kept"]
    with pytest.raises(ConditionFailedError):
        failing.put(Item(Key("p", "kept"), {}))


def test_a_build_starts_once_ends_as_told_and_moves_its_machine(clock: FixedClock) -> None:
    machines = FakeMachines(clock)
    builder = FakeBuilder(clock, machines)
    builder.refuse()
    with pytest.raises(BuilderUnavailableError):
        builder.start(_spec("b-1", DesiredState.RUNNING))
    assert builder.look("b-1").state is BuildState.QUEUED
    builder.accept()
    builder.start(_spec("b-1", DesiredState.RUNNING))
    builder.start(_spec("b-1", DesiredState.RUNNING))
    assert len(builder.specs) == 1
    assert [spec.build_id for spec in builder.running] == ["b-1"]
    builder.finish("b-1")
    assert builder.look("b-1").state is BuildState.SUCCEEDED
    assert machines.look("i-0000000001", 1).state is MachineState.UP
    machines.crash("i-0000000001", 1)
    seen = machines.look("i-0000000001", 1)
    assert seen.state is MachineState.EXITED
    assert seen.exit is not None
    assert not seen.exit.is_asked
    builder.start(_spec("b-2", DesiredState.ABSENT))
    builder.cancel("b-2")
    lost = builder.look("b-2").result
    assert lost is not None
    assert lost.code is ReasonCode.BUILD_LOST
    assert machines.find_all() == {}


def test_logs_are_read_in_whole_lines_from_an_offset(clock: FixedClock) -> None:
    builder = FakeBuilder(clock)
    builder.write_log("b-1", "one", "zwölf", "three")
    lines, offset = builder.read_log("b-1", 0, 2)
    assert lines == ("one", "zwölf")
    assert builder.read_log("b-1", offset, 10) == (("three",), offset + 6)


async def test_a_prober_follows_its_script_and_stays_at_the_last() -> None:
    prober = FakeProber()
    prober.script("unix:/a", ProbeOutcome.SILENT, ProbeOutcome.REFUSED)
    seen = [await prober.probe("unix:/a", 1) for _ in range(3)]
    assert seen == [ProbeOutcome.SILENT, ProbeOutcome.REFUSED, ProbeOutcome.REFUSED]
    assert await prober.probe("unix:/b", 1) is ProbeOutcome.OK


def test_a_signature_holds_for_its_message_namespace_and_key_only() -> None:
    signatures = FakeSignatures()
    key = signatures.key("ada")
    signature = signatures.sign(key, b"nonce", "login")
    assert signatures.check(b"nonce", signature, "login").fingerprint == signatures.fingerprint_of(key)
    for message, namespace in ((b"other", "login"), (b"nonce", "other")):
        with pytest.raises(SignatureError):
            signatures.check(message, signature, namespace)
    with pytest.raises(SignatureError):
        signatures.fingerprint_of("no key")


def test_a_memory_audit_log_seals_a_chain_and_can_break_down(clock: FixedClock) -> None:
    log = MemoryAuditLog()
    for number in range(3):
        log.append(AuditEvent("platform", clock.now(), "a:b:c", "ada", "x", {"n": str(number)}))
    assert [sealed.seq for sealed in log.read("platform", 1, 10)] == [2, 3]
    assert log.verify("platform") is None
    log.break_down()
    with pytest.raises(AuditLogUnavailableError):
        log.append(AuditEvent("platform", clock.now(), "a:b:c", "ada", "x", {}))
    assert log.tags() == ["a:b:c"] * 3
