"""What is counted and logged: every answer with who, what, how it ended and how long; nothing that anyone sent."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from chalicelib import container
from doubles.firings import FakeScanner
from doubles.loops import run_apart
from nightingale.app.dispatch import Request, Response
from nightingale.contract.build import BuildResult, BuildSpec
from nightingale.contract.vocabulary import BuildState, ReasonCode
from nightingale.ports.builder import BuildSeen
from nightingale.ports.prober import Activity, ProbeOutcome
from nightingale.ports.scanner import LogScanned
from nightingale_local import metrics
from nightingale_local.api_host import make_server
from nightingale_local.child import LogFile, log_to
from nightingale_local.container import local_platform
from nightingale_local.counting import CountingProber, LoggedBuilder
from nightingale_local.folders import Folders, Settings, write_json
from nightingale_local.observing import Channels, MetricsPage, ObservedDispatcher, observed

AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
SAMPLE = re.compile(r"(nightingale_\w+)(?:\{([^}]*)\})? ([0-9.]+(?:e-?[0-9]+)?)")


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    made = Folders(tmp_path)
    for folder in (made.secrets, made.logs, made.audit):
        folder.mkdir(parents=True)
    write_json(made.settings, Settings(port=8700))
    return made


@pytest.fixture
def dispatcher(folders: Folders) -> Iterator[ObservedDispatcher]:
    platform = local_platform(folders)
    yield observed(platform)
    platform.adapters.store.close()  # type: ignore[attr-defined] # the port has no close; this store is sqlite


@pytest.fixture
def page(folders: Folders, dispatcher: ObservedDispatcher) -> Iterator[MetricsPage]:
    platform = local_platform(folders)
    yield MetricsPage(folders, platform.adapters.store, platform.adapters.clock, dispatcher)
    platform.adapters.store.close()  # type: ignore[attr-defined] # same


def samples(text: str) -> dict[str, float]:
    """Read the page, each line of which must be well formed and in the family that stands before it."""
    found: dict[str, float] = {}
    kinds: dict[str, str] = {}
    lines = text.split("\n")
    assert lines[-2:] == ["# EOF", ""]
    for line in lines[:-2]:
        if line.startswith("# TYPE "):
            name, kind = line.split()[2:]
            assert name not in kinds
            kinds[name] = kind
        elif not line.startswith("#"):
            match = SAMPLE.fullmatch(line)
            assert match, line
            family = next(reversed(kinds))
            ends = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}[kinds[family]]
            assert match[1] in {family + end for end in ends}
            assert line.rpartition(" ")[0] not in found
            found[line.rpartition(" ")[0]] = float(match[3])
    return found


def test_each_source_of_the_scan_is_told_by_itself(folders: Folders, page: MetricsPage) -> None:
    logs = (LogScanned("cloudtrail", "a"), LogScanned("cloudtrail", "b", "no answer"), LogScanned("s3_access", "c"))
    platform = local_platform(folders)
    platform.scanning(FakeScanner(logs=logs)).run()
    platform.adapters.store.close()  # type: ignore[attr-defined] # as above
    found = {name: value for name, value in samples(page.text().decode()).items() if "scan" in name and "ok" in name}
    assert found == {
        "nightingale_scan_ok": 0,
        'nightingale_scan_source_ok{source="nightingale"}': 1,
        'nightingale_scan_source_ok{source="cloudtrail"}': 0,
        'nightingale_scan_source_ok{source="s3_access"}': 1,
    }


# --- requests ---------------------------------------------------------------------------------------------------------


def test_every_answer_is_one_line_with_who_what_and_how_long(
    folders: Folders, dispatcher: ObservedDispatcher, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    platform = local_platform(folders)
    token = platform.services.login.create_service_session("operator", timedelta(hours=1))
    body = b'{"planted": "body"}'
    good = dispatcher.handle("plan_cluster", Request(body=body, authorization=f"Bearer {token}"))
    bad = dispatcher.handle("get_me", Request(authorization="Bearer planted-token"))
    platform.adapters.store.close()  # type: ignore[attr-defined] # the port has no close; this store is sqlite
    first, second = (one for one in caplog.records if one.getMessage() == "request")
    assert (first.__dict__["operation"], first.__dict__["principal"]) == ("plan_cluster", "operator")
    assert (first.__dict__["status"], first.__dict__["request_id"]) == (good.status, good.request_id)
    assert 0 <= first.__dict__["ms"] < 5000
    assert (second.__dict__["status"], second.__dict__["principal"]) == (401, "")
    assert second.__dict__["request_id"] == bad.request_id
    assert "planted" not in "".join(str(one.__dict__) for one in caplog.records)
    assert token not in "".join(str(one.__dict__) for one in caplog.records)


def test_who_asked_is_not_taken_for_who_asks_beside(dispatcher: ObservedDispatcher, folders: Folders) -> None:
    platform = local_platform(folders)
    tokens = {
        name: platform.services.login.create_service_session(name, timedelta(hours=1))
        for name in ("operator", "gateway")
    }
    platform.adapters.store.close()  # type: ignore[attr-defined] # the port has no close; this store is sqlite
    seen: list[tuple[str, str]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append((threading.current_thread().name, str(record.__dict__.get("principal"))))

    def ask(name: str) -> None:
        for _ in range(20):
            dispatcher.handle("get_me", Request(authorization=f"Bearer {tokens[name]}"))

    handler = Keep()
    logger = logging.getLogger("nightingale_local.observing")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        threads = [threading.Thread(target=ask, args=(name,), name=name) for name in tokens]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert len(seen) == 40
    assert all(thread == principal for thread, principal in seen)


def test_a_log_is_json_lines_in_a_file_that_is_cut_over(tmp_path: Path) -> None:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    root.handlers[:] = []
    try:
        log_to("api", tmp_path)
        logging.getLogger("x").info("build ended", extra={"build_id": "b-0123456789", "seconds": 1.5, "path": tmp_path})
        (handler,) = root.handlers
        handler.close()
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    line = json.loads((tmp_path / "api.log").read_text())
    assert (line["message"], line["build_id"], line["seconds"]) == ("build ended", "b-0123456789", 1.5)
    assert (line["process"], line["level"], line["path"]) == ("api", "info", str(tmp_path))
    assert datetime.fromisoformat(line["at"]).utcoffset() == timedelta(0)


def test_a_full_log_is_put_aside_and_the_one_before_it_goes(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "api.log", maxBytes=50, backupCount=1, encoding="utf-8")
    logger = logging.Logger("of this test")  # noqa: LOG001 - one that no other test can see
    logger.addHandler(log)
    for number in range(5):
        logger.warning("line %d of thirty characters....", number)
    log.close()
    assert (tmp_path / "api.log").read_text().split()[1::5] == ["4"]
    assert (tmp_path / "api.log.1").read_text().split()[1::5] == ["2", "3"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["api.log", "api.log.1"]


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_counts_answers_instances_probes_builds_and_beats(
    folders: Folders, page: MetricsPage, dispatcher: ObservedDispatcher
) -> None:
    for _ in range(3):
        dispatcher.handle("get_health", Request())
    dispatcher.handle("get_me", Request())
    beat = metrics.Histogram()
    beat.note(0.02)
    beat.note(60)
    counts = metrics.Counts(probes={"ok": 7}, builds={"succeeded": 2}, beats={"running": beat}, failed_beats={"x": 1})
    write_json(folders.counts, counts)
    found = samples(page.text().decode())
    assert found['nightingale_requests_total{operation="get_health",status="200"}'] == 3
    assert found['nightingale_requests_total{operation="get_me",status="401"}'] == 1
    assert found['nightingale_request_seconds_bucket{operation="get_health",le="+Inf"}'] == 3
    assert found['nightingale_request_seconds_count{operation="get_health"}'] == 3
    assert found['nightingale_instances{status="running"}'] == 0
    assert found['nightingale_probes_total{outcome="ok"}'] == 7
    assert found['nightingale_builds_total{result="succeeded"}'] == 2
    assert found['nightingale_failed_beats_total{beat="x"}'] == 1
    buckets = [value for name, value in found.items() if name.startswith("nightingale_beat_seconds_bucket")]
    assert buckets == [0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2]
    assert found['nightingale_beat_seconds_sum{beat="running"}'] == 60.02
    assert found["nightingale_store_up"] == 1
    assert found["nightingale_open_channels"] == 0


def test_a_store_that_cannot_be_read_is_said_and_no_number_invented(
    folders: Folders, dispatcher: ObservedDispatcher
) -> None:
    platform = local_platform(folders)
    page = MetricsPage(folders, platform.adapters.store, platform.adapters.clock, dispatcher)
    platform.adapters.store.close()  # type: ignore[attr-defined] # the port has no close; this store is sqlite
    found = samples(page.text().decode())
    assert found["nightingale_store_up"] == 0
    assert not any(name.startswith("nightingale_instances") for name in found)


@pytest.mark.parametrize("shown", [True, False])
def test_the_page_is_there_on_this_machine_and_only_where_it_is_offered(
    page: MetricsPage, dispatcher: ObservedDispatcher, *, shown: bool
) -> None:
    container.use(dispatcher)
    server = make_server("127.0.0.1", 0, page if shown else None)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}", trust_env=False, timeout=5) as client:
            answer = client.get("/metrics")
            foreign = client.get("/metrics", headers={"Host": "evil.example"})
            posted = client.post("/metrics")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        container.use_nothing()
    assert foreign.status_code == 403
    assert (answer.status_code, posted.status_code) == ((200, 405) if shown else (404, 404))
    if shown:
        assert answer.headers["content-type"] == metrics.CONTENT_TYPE
        assert samples(answer.text)["nightingale_store_up"] == 1


def test_a_channel_counts_while_its_lease_is_renewed() -> None:
    channels = Channels()
    good, gone = Response(200, b"{}", "r-1"), Response(403, b"{}", "r-2")
    for channel in ("c-1", "c-2", "c-3"):
        channels.note("renew_channel", Request(path={"channel": channel}), good)
    channels.note("renew_channel", Request(path={"channel": "c-1"}), good)
    assert channels.count() == 3
    channels.note("close_channel", Request(path={"channel": "c-1"}), good)
    channels.note("renew_channel", Request(path={"channel": "c-2"}), gone)
    assert channels.count() == 1


# --- probes and builds ------------------------------------------------------------------------------------------------


class Probes:
    """A prober whose answers are given."""

    def __init__(self, *outcomes: ProbeOutcome) -> None:
        self._outcomes = list(outcomes)
        self.is_closed = False

    async def probe(self, address: str, timeout_s: float) -> ProbeOutcome:  # noqa: ARG002 - the port's signature
        return self._outcomes.pop(0)

    async def activity(self, address: str, token: str, timeout_s: float) -> Activity | None:  # noqa: ARG002 - the port's signature
        return Activity(AT, is_busy=True, kernels=1, connections=1)

    async def close(self) -> None:
        self.is_closed = True


def test_probes_are_counted_by_how_they_ended() -> None:
    async def probe() -> CountingProber:
        inner = Probes(ProbeOutcome.OK, ProbeOutcome.SILENT, ProbeOutcome.OK)
        prober = CountingProber(inner)
        seen = [await prober.probe("unix:/x", 1) for _ in range(3)]
        assert seen == [ProbeOutcome.OK, ProbeOutcome.SILENT, ProbeOutcome.OK]
        assert (await prober.activity("unix:/x", "t", 1)) is not None
        await prober.close()
        assert inner.is_closed
        return prober

    assert run_apart(probe()).outcomes == {"ok": 2, "silent": 1}


class Builds:
    """A builder that has run what it is told."""

    def __init__(self, **results: BuildResult | None) -> None:
        self.results = results
        self.told: list[str] = []

    def start(self, spec: BuildSpec) -> None:
        self.told.append(f"start {spec.build_id}")

    def look(self, build_id: str) -> BuildSeen:
        result = self.results[build_id]
        if result is None:
            return BuildSeen(BuildState.RUNNING)
        return BuildSeen(BuildState.SUCCEEDED if result.is_ok else BuildState.FAILED, result)

    def cancel(self, build_id: str) -> None:
        self.told.append(f"cancel {build_id}")

    def read_log(self, build_id: str, offset: int, limit: int) -> tuple[tuple[str, ...], int]:
        return (build_id,), offset + limit


def result(build_id: str, code: ReasonCode | None = None) -> BuildResult:
    return BuildResult(
        build_id=build_id, is_ok=code is None, started_at=AT, finished_at=AT + timedelta(seconds=2), code=code
    )


def test_a_build_that_ended_is_counted_and_logged_once_with_its_id(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    inner = Builds(good=result("good"), bad=result("bad", ReasonCode.TERRAFORM_FAILED), runs=None)
    builder = LoggedBuilder(inner)
    for build_id in ("good", "bad", "runs", "good", "bad"):
        builder.look(build_id)
    builder.cancel("runs")
    assert builder.read_log("good", 1, 2) == (("good",), 3)
    assert builder.results == {"succeeded": 1, "terraform_failed": 1}
    assert inner.told == ["cancel runs"]
    ended = [one.__dict__ for one in caplog.records if one.getMessage() == "build ended"]
    assert [(one["build_id"], one["result"], one["seconds"]) for one in ended] == [
        ("good", "succeeded", 2.0),
        ("bad", "terraform_failed", 2.0),
    ]
