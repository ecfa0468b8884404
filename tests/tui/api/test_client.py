"""The client: every person-facing operation, and every way an answer can be bad."""

import inspect
from collections.abc import Callable, Iterator

import httpx
import pytest

from nightingale.contract import findings as f
from nightingale.contract import rules as r
from nightingale.contract import schemas as s
from nightingale.contract.errors import ErrorCode
from nightingale.contract.operations import OPERATIONS
from nightingale.contract.vocabulary import LogSource, Permission
from nightingale_tui.api.client import Api
from nightingale_tui.api.errors import (
    ApiError,
    BadAnswerError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    NotLoggedInError,
    UnreachableError,
)
from tui.api.fake_platform import FakePlatform

URL = "http://127.0.0.1:8470"


@pytest.fixture
def platform() -> FakePlatform:
    platform = FakePlatform()
    platform.add("scan")
    return platform


@pytest.fixture
def api(platform: FakePlatform) -> Iterator[Api]:
    with Api(URL, platform.token_of("ada"), transport=platform.transport()) as api:
        yield api


def answering(answer: Callable[[httpx.Request], httpx.Response]) -> Api:
    return Api(URL, "secret-token", transport=httpx.MockTransport(answer))


def test_there_is_a_method_for_every_person_facing_operation_and_no_other() -> None:
    machines = {Permission.GATEWAY, Permission.INSTANCE_SELF, Permission.AUDIT_SHIP, Permission.PACKAGE_INDEX}
    rows = {row.name for row in OPERATIONS if row.permission not in machines} - {"get_openapi", "identify_machine"}
    public = {name for name, _ in inspect.getmembers(Api, inspect.isfunction) if not name.startswith("_")}
    assert public - {"close", "with_token", "leave_address"} == rows


def test_every_operation_reaches_its_own_route_and_returns_its_schema(api: Api, platform: FakePlatform) -> None:
    cluster = s.ClusterIn(
        version=1,
        currency="EUR",
        people=(),
        projects=(),
        sizes=s.SizesIn(
            cpu=(s.CpuIn(name="s", cores=1),), memory=(s.GibIn(name="s", gib=1),), disk=(s.GibIn(name="s", gib=1),)
        ),
        images=(),
        places=(),
        rates=(),
    )
    answers = {
        "get_health": api.get_health(),
        "create_challenge": api.create_challenge(),
        "get_me": api.get_me(),
        "get_catalog": api.get_catalog(),
        "get_gateway": api.get_gateway(),
        "create_estimate": api.create_estimate("heart", s.EstimateIn()),
        "list_instances": api.list_instances("heart", include_all=True, limit=5),
        "launch_instance": api.launch_instance("heart", s.LaunchIn(name="new")),
        "get_instance": api.get_instance("heart", "scan"),
        "list_history": api.list_history("heart", "scan"),
        "list_builds": api.list_builds("heart", "scan"),
        "read_log": api.read_log("heart", "scan", LogSource.BUILD, tail=3),
        "open_jupyter": api.open_jupyter("heart", "scan"),
        "extend_instance": api.extend_instance("heart", "scan", s.ExtendIn(seconds=60)),
        "stop_instance": api.stop_instance("heart", "scan"),
        "get_usage": api.get_usage("heart", month="2026-11"),
        "list_usage_records": api.list_usage_records("heart"),
        "plan_cluster": api.plan_cluster(s.ClusterPlanIn(cluster=cluster)),
        "apply_cluster": api.apply_cluster(s.ClusterApplyIn(cluster=cluster, base=1)),
        "list_audit_events": api.list_audit_events("platform"),
        "verify_audit": api.verify_audit("platform"),
        "list_reads": api.list_reads("heart", "scan", tail=5),
    }
    rule = r.CompiledRule(id="one", name="one", title="One", level="low", source="reads", where="TRUE")
    part = r.RulesPartIn(digest=r.set_digest([rule]), part=1, parts=1, rules=(rule,))
    answers |= {"upload_rules": api.upload_rules(part), "list_rules": api.list_rules()}
    platform.add_finding()
    found = f.FindingUpdateIn(state=f.FindingState.ACKNOWLEDGED, revision=1)
    decision = f.FindingDecisionIn(action=f.ResponseKind.QUARANTINE, revision=2)
    answers |= {
        "list_findings": api.list_findings(filters={"state": "open"}),
        "list_project_findings": api.list_project_findings("heart"),
        "get_finding": api.get_finding("f-0000000001"),
        "update_finding": api.update_finding("f-0000000001", found),
        "confirm_finding_action": api.confirm_finding_action("f-0000000001", decision),
    }
    decision = f.FindingDecisionIn(action=f.ResponseKind.QUARANTINE, revision=3)
    answers["dismiss_finding_action"] = api.dismiss_finding_action("f-0000000001", decision)
    platform.settle()
    answers["start_instance"] = api.start_instance("heart", "scan")
    platform.settle()
    answers["resize_instance"] = api.resize_instance("heart", "scan", s.ResizeIn(cpu="m"))
    platform.settle()
    platform.fail("scan")
    answers["retry_instance"] = api.retry_instance("heart", "scan")
    platform.settle()
    answers["quarantine_instance"] = api.quarantine_instance("heart", "scan", s.QuarantineIn(why="a look"))
    answers["release_instance"] = api.release_instance("heart", "scan", s.QuarantineIn(why="nothing"))
    answers["delete_instance"] = api.delete_instance("heart", "scan")
    answers["delete_session"] = api.delete_session()
    types = {row.name: row.response for row in OPERATIONS}
    for name, answer in answers.items():
        assert isinstance(answer, types[name]), name
    assert {name for name, _ in platform.calls} == set(answers)
    assert answers["resize_instance"].size == s.Size(cpu="m")  # type: ignore[attr-defined]  # a mixed dict


def test_pages_follow_the_cursor(api: Api, platform: FakePlatform) -> None:
    platform.add("two")
    first = api.list_instances("heart", limit=1)
    second = api.list_instances("heart", limit=1, cursor=first.next_cursor)
    assert [i.name for page in (first, second) for i in page.instances] == ["two", "scan"]
    assert second.next_cursor is None


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (ErrorCode.UNAUTHENTICATED, NotLoggedInError),
        (ErrorCode.FORBIDDEN, ForbiddenError),
        (ErrorCode.NOT_FOUND, NotFoundError),
        (ErrorCode.BUSY, ConflictError),
        (ErrorCode.INTERNAL, ApiError),
    ],
)
def test_a_refusal_carries_code_words_next_step_and_request(
    api: Api, platform: FakePlatform, code: ErrorCode, kind: type[ApiError]
) -> None:
    platform.refusals["get_me"] = code
    with pytest.raises(kind) as caught:
        api.get_me()
    error = caught.value
    assert (error.code, error.status, error.request_id) == (code.code, code.status, "r-1")
    assert error.message
    assert error.next_step


def test_a_path_value_is_one_segment(api: Api, platform: FakePlatform) -> None:
    with pytest.raises(NotFoundError):
        api.get_instance("heart", "a/../b?x=1")
    assert platform.calls[-1] == ("get_instance", ("heart", "a/../b?x=1"))


@pytest.mark.parametrize("value", ["", ".", ".."])
def test_a_path_value_that_would_name_another_path_is_refused(api: Api, value: str) -> None:
    with pytest.raises(ValueError, match="cannot stand"):
        api.delete_instance("heart", value)


def test_unknown_fields_of_an_answer_are_ignored() -> None:
    api = answering(lambda _: httpx.Response(200, json={"status": "ok", "version": "9", "new": {"x": 1}}))
    assert api.get_health() == s.HealthOut(status="ok", version="9")


@pytest.mark.parametrize(
    ("status", "content", "kind"),
    [
        (200, b"<html>Sign in to the hotel's network</html>", "text/html"),
        (502, b"<html>Bad gateway</html>", "text/html; charset=utf-8"),
        (200, b'{"status": 3}', "application/json"),
        (302, b"", "text/plain"),
        (500, b"\xff\xfe", "application/json"),
    ],
)
def test_an_answer_that_is_not_ours_is_said_to_be_so(status: int, content: bytes, kind: str) -> None:
    api = answering(lambda _: httpx.Response(status, content=content, headers={"content-type": kind}))
    with pytest.raises(BadAnswerError, match=f"status {status}") as caught:
        api.get_health()
    assert "--url" in caught.value.next_step


@pytest.mark.parametrize(
    "error",
    [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), httpx.ReadError("reset"), httpx.ConnectTimeout("")],
)
def test_no_answer_is_unreachable_with_a_next_step(error: httpx.TransportError) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(UnreachableError) as caught:
        answering(fail).get_me()
    assert URL in caught.value.message
    assert caught.value.next_step


def test_a_port_that_nobody_listens_on_is_unreachable(free_port: int) -> None:
    with pytest.raises(UnreachableError, match="cannot be reached"):
        Api(f"http://127.0.0.1:{free_port}").get_health()


def test_an_address_of_another_kind_is_a_bad_answer() -> None:
    with pytest.raises(BadAnswerError, match="no address of a platform"):
        Api("gopher://here").get_health()


def test_the_token_goes_into_the_header_and_nowhere_else() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"status": "ok", "version": "1"})

    api = answering(answer)
    api.get_health()
    assert seen[0].headers["authorization"] == "Bearer secret-token"
    assert "secret-token" not in str(seen[0].url)
    assert "secret-token" not in repr(api)
    api.with_token(None)
    api.get_health()
    assert "authorization" not in seen[1].headers
