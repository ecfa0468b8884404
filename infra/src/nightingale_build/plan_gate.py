"""Stops a plan that would destroy what holds work, before anything is changed.

In the clouds a plan is saved first, read here (`terraform show -json`), and then exactly that plan is applied.

    what holds work      may be destroyed, replaced or forgotten
    ------------------   ---------------------------------------------------------------------------------------------
    the home             by a delete (desired state `absent`), and else never
    the machine          by a stop or a delete; by a start, a resize or a retry, once a generation; by anything where
                         the cloud says that it does not run
    either               where its own creation failed (Terraform calls it tainted) and no build of the instance has
                         succeeded yet: nobody has worked there
    everything else      always: networks, attachments and rules hold no work

A home is what is of a type that keeps data, and whatever is named `home` or lies in a module of that name, other than
what only attaches, and other than the copies of datasets. So a type that nobody thought of is guarded too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

from nightingale.contract.build import BuildSpec
from nightingale.contract.vocabulary import Action, DesiredState, ReasonCode
from nightingale_build.failure import BuildFailedError

KEEPS_DATA = frozenset(
    {
        "aws_ebs_volume",
        "aws_efs_file_system",
        "aws_s3_bucket",
        "azurerm_managed_disk",
        "azurerm_storage_account",
        "azurerm_storage_share",
        "google_compute_disk",
        "google_compute_region_disk",
        "google_filestore_instance",
        "google_storage_bucket",
    }
)
"""Types whose resources keep what a person wrote."""

RUNS = frozenset(
    {
        "aws_instance",
        "aws_spot_instance_request",
        "azurerm_linux_virtual_machine",
        "azurerm_virtual_machine",
        "google_cloud_run_service",
        "google_cloud_run_v2_service",
        "google_compute_instance",
    }
)
"""Types whose resources run a person's work."""

ATTACHES = (
    "_attachment",
    "_attached_disk",
    "_association",
    "_mount_target",
    "_iam_binding",
    "_iam_member",
    "_iam_policy",
)
"""Ends of the types that stand between a home and who uses it, and keep nothing themselves."""

DATASETS = frozenset({"dataset", "datasets"})
"""Names of copies of datasets: made of a snapshot for one machine, mounted read-only, and gone with it."""

LOSING = frozenset({"delete", "forget"})
"""Actions of a plan after which Terraform no longer has the resource. A replacement has `delete` among its actions."""

REPLACES_ONCE = frozenset({Action.START, Action.RESIZE, Action.RETRY})
"""Actions that may put another machine in the place of the one there is, the first time that a generation is built."""

_MODULE = re.compile(r"\bmodule\.([A-Za-z0-9_-]+)")
_NOT_RUNNING = frozenset({"stopped", "stopping", "terminated", "shutting-down"})


class Holds(Enum):
    """What work a resource holds."""

    NOTHING = "nothing"
    HOME = "the home"
    MACHINE = "the machine"


@dataclass(frozen=True)
class Knowledge:
    """What is known of the instance beside the plan."""

    action: Action
    desired_state: DesiredState
    is_new_generation: bool
    """No build of this generation has succeeded yet."""
    has_succeeded: bool
    """A build of this instance has succeeded before: somebody may have worked there."""

    @classmethod
    def of(cls, spec: BuildSpec, succeeded_generation: int | None) -> Knowledge:
        """Return it for a build, by the generation of the last one that succeeded (None: none has)."""
        return cls(
            action=spec.action,
            desired_state=spec.desired_state,
            is_new_generation=succeeded_generation is None or spec.generation > succeeded_generation,
            has_succeeded=succeeded_generation is not None,
        )


@dataclass(frozen=True)
class Loss:
    """One resource that holds work and that the plan would take away."""

    address: str
    holds: Holds
    verb: str
    """`destroy`, `replace` or `forget`."""
    because: str
    """The attributes that force it, or Terraform's own reason."""

    def __str__(self) -> str:
        """Return it in words."""
        why = f" ({self.because})" if self.because else ""
        return f"{self.verb} {self.address}, which holds {self.holds.value}{why}"


def what_holds(change: Mapping[str, Any]) -> Holds:
    """Return what work the resource of one entry of `resource_changes` holds."""
    kind = str(change.get("type", ""))
    name = str(change.get("name", ""))
    if change.get("mode", "managed") != "managed" or kind.endswith(ATTACHES) or name in DATASETS:
        return Holds.NOTHING
    modules = _MODULE.findall(str(change.get("module_address", change.get("address", ""))))
    if kind in KEEPS_DATA or name == "home" or "home" in modules:
        return Holds.HOME
    if kind in RUNS or (kind == "terraform_data" and name == "instance"):
        return Holds.MACHINE
    return Holds.NOTHING


def losses(plan: Mapping[str, Any], knowledge: Knowledge) -> tuple[Loss, ...]:
    """Return what holds work and would be lost though it may not be, by what `terraform show -json PLAN` printed."""
    return tuple(loss for change in plan.get("resource_changes", ()) if (loss := _loss(change, knowledge)) is not None)


def check(shown: bytes, knowledge: Knowledge) -> None:
    """Raise BuildFailedError `plan_refused` when the plan would destroy work that this build may not destroy.

    A plan that cannot be read is refused as well.
    """
    try:
        plan = msgspec.json.decode(shown, type=dict[str, Any])
        if not str(plan["format_version"]).startswith("1."):
            raise ValueError(plan["format_version"])  # noqa: TRY301 - told like all else that is not a plan we know
        found = losses(plan, knowledge)
    except (msgspec.DecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise BuildFailedError(
            ReasonCode.PLAN_REFUSED,
            f"Terraform's plan could not be read ({type(error).__name__}: {error}), so it was not applied.",
            "Tell your administrator: the build runner and Terraform are of versions that do not fit.",
        ) from error
    if found:
        raise _refused(found, knowledge)


def _loss(change: Mapping[str, Any], knowledge: Knowledge) -> Loss | None:
    actions = tuple(change["change"]["actions"])
    holds = what_holds(change)
    if not LOSING.intersection(actions) or holds is Holds.NOTHING or _may_go(holds, change, knowledge):
        return None
    verb = "replace" if "create" in actions else "forget" if "forget" in actions else "destroy"
    return Loss(str(change["address"]), holds, verb, _because(change))


def _may_go(holds: Holds, change: Mapping[str, Any], knowledge: Knowledge) -> bool:
    if knowledge.desired_state is DesiredState.ABSENT:
        return True
    if change.get("action_reason") == "replace_because_tainted" and not knowledge.has_succeeded:
        return True
    if holds is Holds.HOME:
        return False
    if knowledge.desired_state is DesiredState.STOPPED:
        return True
    if knowledge.action in REPLACES_ONCE and knowledge.is_new_generation:
        return True
    before = change["change"].get("before") or {}
    return before.get("instance_state") in _NOT_RUNNING


def _because(change: Mapping[str, Any]) -> str:
    paths = change["change"].get("replace_paths") or ()
    forced = sorted({".".join(str(part) for part in path) for path in paths})
    if forced:
        return f"forced by {', '.join(forced)}"
    return str(change.get("action_reason", "")).replace("_", " ")


def _refused(found: Iterable[Loss], knowledge: Knowledge) -> BuildFailedError:
    return BuildFailedError(
        ReasonCode.PLAN_REFUSED,
        f"Terraform's plan for this {knowledge.action.value} would {'; '.join(str(one) for one in found)}."
        " It was not applied, and nothing was changed.",
        "Show this to your administrator: the build's log holds the plan. A resize or a retry may replace the machine;"
        " a home is given up by delete alone.",
    )
