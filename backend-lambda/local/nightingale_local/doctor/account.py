"""An AWS account: who asks, where, how much it may start, and whether CodeBuild stands ready."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from nightingale.adapters.aws_clients import code_of, is_aws_error
from nightingale_local.doctor.report import Check, DoctorLine, fail, ok, unknown, warn

Clients = Callable[[str], Any]
"""Gives the client of a service by its name."""

FEW_VCPUS = 16
SOON = timedelta(minutes=15)
SKEW_WARN_S, SKEW_FAIL_S = 5, 60
"""A login's nonce lives two minutes, a signature of AWS five: a minute is half of what the first bears."""

_FAMILIES = {
    # Codes of AWS's own list of quotas, each counted in vCPUs.
    "L-1216C47A": ("on-demand standard (A C D H I M R T Z)", True),
    "L-DB2E81BA": ("on-demand GPU (G, VT)", False),
    "L-417A185B": ("on-demand GPU (P)", False),
    "L-34B43A08": ("spot standard", False),
    "L-3819A6DF": ("spot GPU (G, VT)", False),
}
_ASK = "Ask for more: AWS console, Service Quotas, or `aws service-quotas request-service-quota-increase`."
_DENIED = frozenset(
    {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnauthorizedOperationException"}
)


@dataclass(frozen=True)
class Account:
    """What the checks are told: names of what the platform uses there, empty where nobody said."""

    region: str
    table: str = ""
    buckets: Mapping[str, str] | None = None
    """By what they hold: audit, builds, state."""
    project: str = ""


def told(environment: Mapping[str, str], region: str | None = None) -> Account:
    """Return what the environment says, by the names under which a deployed function is told it."""
    regions = (region or "", environment.get("AWS_REGION", ""), environment.get("AWS_DEFAULT_REGION", ""))
    return Account(
        region=next((one for one in regions if one), ""),
        table=environment.get("NIGHTINGALE_TABLE", ""),
        buckets={
            kind: environment.get(f"NIGHTINGALE_{kind.upper()}_BUCKET", "") for kind in ("audit", "builds", "state")
        },
        project=environment.get("NIGHTINGALE_CODEBUILD_PROJECT", ""),
    )


def explain(error: Exception) -> str:
    """Return why a call failed: AWS's code, never its message, which may name keys."""
    if type(error).__name__ in {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"}:
        return "no credentials are found"
    if type(error).__name__ == "NoRegionError":
        return "no region is named"
    code = code_of(error) if is_aws_error(error) else ""
    if code in _DENIED:
        return f"these credentials may not ask ({code})"
    return f"AWS answered {code}" if code else f"no answer ({type(error).__name__})"


def account_checks(
    account: Account, clients: Clients, now: Callable[[], datetime], expiry: Callable[[], datetime | None]
) -> list[Check]:
    """Return the checks. `expiry` tells when the credentials end, None where they do not."""
    return [
        Check("credentials", lambda: _credentials(clients, now(), expiry)),
        Check("clock", lambda: _clock(clients, now)),
        Check("region", lambda: _region(account, clients)),
        Check("quotas", lambda: _quotas(clients)),
        Check("codebuild", lambda: _codebuild(account, clients)),
    ]


def _credentials(clients: Clients, now: datetime, expiry: Callable[[], datetime | None]) -> Iterator[DoctorLine]:
    log_in = "Log in anew: `aws sso login`, or set AWS_PROFILE; `aws sts get-caller-identity` shows who you are."
    try:
        who = clients("sts").get_caller_identity()
    except Exception as error:
        if not is_aws_error(error):
            raise
        yield fail("credentials", f"AWS does not know you: {explain(error)}", log_in)
        return
    arn = str(who["Arn"])
    seen = f"{arn} in account {who['Account']}"
    ends_at = expiry()
    if arn.endswith(":root"):
        yield warn("credentials", f"{seen}: the account's root", "Use a role of its own; lock the root user away.")
    elif ends_at is not None and ends_at <= now + SOON:
        yield warn("credentials", f"{seen}, until {ends_at:%Y-%m-%d %H:%M} UTC", log_in)
    else:
        yield ok("credentials", seen + (f", until {ends_at:%Y-%m-%d %H:%M} UTC" if ends_at is not None else ""))


def _clock(clients: Clients, now: Callable[[], datetime]) -> Iterator[DoctorLine]:
    answer = clients("sts").get_caller_identity()
    yield skew_line("clock", "AWS", answer["ResponseMetadata"]["HTTPHeaders"].get("date", ""), now())


def skew_line(check: str, whose: str, date: str, now: datetime) -> DoctorLine:
    """Return how far this machine's clock is from a server's Date header, which counts whole seconds."""
    try:
        away = (now - parsedate_to_datetime(date)).total_seconds()
    except (TypeError, ValueError):
        return unknown(check, f"{whose} sent no time with its answer", "Look at this machine's clock: `timedatectl`.")
    seen = f"this machine is {abs(away):.0f} s {'ahead of' if away > 0 else 'behind'} {whose}"
    do = "Set the clock by NTP: `timedatectl set-ntp true`."
    if abs(away) >= SKEW_FAIL_S:
        return fail(check, seen, do)
    return warn(check, seen, do) if abs(away) >= SKEW_WARN_S else ok(check, f"within {abs(away):.0f} s of {whose}")


def _region(account: Account, clients: Clients) -> Iterator[DoctorLine]:
    if not account.region:
        yield fail("region", "no region is named", "Set AWS_REGION, or say --region.")
        return
    found = clients("ec2").describe_regions(
        AllRegions=True, Filters=[{"Name": "region-name", "Values": [account.region]}]
    )["Regions"]
    status = next((one.get("OptInStatus", "") for one in found if one["RegionName"] == account.region), None)
    if status is None:
        yield fail("region", f"AWS has no region {account.region}", "Name another: --region.")
    elif status == "not-opted-in":
        yield fail("region", f"{account.region} is not switched on in this account", "Enable it: AWS console, Account.")
    else:
        yield ok("region", account.region)


def _quotas(clients: Clients) -> Iterator[DoctorLine]:
    values = {quota["QuotaCode"]: float(quota["Value"]) for quota in _list_quotas(clients, "ec2")}
    for code, (family, is_needed) in _FAMILIES.items():
        check = f"quota {family}"
        value = values.get(code)
        if value is None:
            yield unknown(check, f"AWS does not list {code} here", _ASK)
        elif value <= 0:
            yield fail(check, "0 vCPUs", _ASK) if is_needed else warn(check, "0 vCPUs: none can be launched", _ASK)
        elif is_needed and value < FEW_VCPUS:
            yield warn(check, f"{value:g} vCPUs: few instances at a time", _ASK)
        else:
            yield ok(check, f"{value:g} vCPUs")


def _list_quotas(clients: Clients, service: str) -> Iterator[Mapping[str, Any]]:
    token = ""
    while True:
        more = {"NextToken": token} if token else {}
        page = clients("service-quotas").list_service_quotas(ServiceCode=service, **more)
        yield from page["Quotas"]
        token = page.get("NextToken") or ""
        if not token:
            return


def _codebuild(account: Account, clients: Clients) -> Iterator[DoctorLine]:
    if not account.project:
        yield unknown("codebuild", "NIGHTINGALE_CODEBUILD_PROJECT is not set", "Set it as on the function.")
        return
    found = clients("codebuild").batch_get_projects(names=[account.project])["projects"]
    if not found:
        yield fail(
            "codebuild", f"there is no project {account.project}", "Deploy the control plane: `./run deploy aws`."
        )
        return
    limit = found[0].get("concurrentBuildLimit")
    if limit is not None and limit < 2:  # noqa: PLR2004 - one build at a time: the second person waits for the first
        yield warn("codebuild", f"{account.project} runs {limit} build at a time", "Raise its concurrent build limit.")
    else:
        yield ok(
            "codebuild", f"{account.project}, at a time: {limit if limit is not None else 'as the account allows'}"
        )
    quotas = [
        quota for quota in _list_quotas(clients, "codebuild") if quota["QuotaName"].startswith("Concurrently running")
    ]
    least = min((float(quota["Value"]) for quota in quotas), default=None)
    if least is None:
        yield unknown("codebuild quota", "AWS lists no limit of concurrent builds", _ASK)
    elif least < 2:  # noqa: PLR2004 - as above
        yield warn("codebuild quota", f"{least:g} builds at a time for one kind of build machine", _ASK)
    else:
        yield ok("codebuild quota", f"at least {least:g} builds at a time")
