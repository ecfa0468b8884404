"""`deploy aws` and `destroy aws`: pack, show, ask, apply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightingale_deploy import packing
from nightingale_deploy.account import Account
from nightingale_deploy.choices import Choices
from nightingale_deploy.consent import ask, say
from nightingale_deploy.refusal import DeployError
from nightingale_deploy.regions import Regions
from nightingale_deploy.secrets_out_of_band import INDEX_NAMES, NAMES, HostKey, IndexPair, write_token
from nightingale_deploy.terraform import Workspace

AUDIT_PARTS = (
    "aws_s3_bucket",
    "aws_s3_bucket_versioning",
    "aws_s3_bucket_object_lock_configuration",
    "aws_s3_bucket_server_side_encryption_configuration",
    "aws_s3_bucket_public_access_block",
    "aws_s3_bucket_lifecycle_configuration",
    "aws_s3_bucket_policy",
)
"""What the audit log's bucket is made of; each is known to AWS by the bucket's name."""

_HELD = ("aws_dynamodb_table.platform", "aws_s3_bucket.kept", "aws_lb.gateway")
"""What is protected from being deleted by mistake, until `is_ending`."""


@dataclass(frozen=True)
class Orders:
    """What the person said on the command line."""

    checkout: Path
    settings: Path
    is_sure: bool
    is_dry: bool = False
    override: Path | None = None

    def workspace(self, choices: Choices, name: str, root: str = "") -> Workspace:
        """Return a fresh copy of the module, or of the root module in this folder of it. Raises DeployError."""
        folder = self.checkout / ".deploy" / f"{choices.name}-{choices.region}" / name
        return Workspace.make(self.checkout, folder, self.override, root)

    def regions(self, account: Account, choices: Choices) -> Regions:
        """Return the platform's further regions."""
        bucket = _state_bucket(account, choices)
        return Regions(account, bucket, choices, lambda name: self.workspace(choices, f"region-{name}", "region"))


def deploy(orders: Orders) -> dict[str, Any]:
    """Bring the control plane to what this checkout and the settings say; return where it is reached.

    Raises DeployError. May be repeated at any time, also after it broke off.
    """
    choices = Choices.read(orders.settings)
    account = Account(choices.region)
    say(f"deploy: account {account.number}, region {choices.region}, platform {choices.name}")
    host_key = HostKey(account, f"/{choices.name}/gateway")
    bucket = _state_bucket(account, choices)
    is_first = not account.has_bucket(bucket)
    if is_first and not orders.is_dry:
        ask(f"The bucket {bucket}, for Terraform's state, is made first. Go on?", is_sure=orders.is_sure)
        account.make_state_bucket(bucket)
    pair = IndexPair(account, f"/{choices.name}/packages") if choices.has_packages else None
    work = orders.workspace(choices, "deploy")
    say("deploy: packing functions, builds and gateway")
    variables = {**choices.variables, **_pack(orders, work), "gateway_host_key": host_key.public}
    if pair is not None:
        packing.pack_packages(orders.checkout, work.folder / "packages.zip")
        variables |= {"packages_package": str(work.folder / "packages.zip"), "packages_sha256": pair.sha256}
    is_nothing_there = is_first and orders.is_dry
    work.tell({**variables, "regions": {}})
    work.init(None if is_nothing_there else bucket, choices.region)
    adopt_audit(account, choices, work)
    if is_nothing_there:
        return {"is_changed": work.plan(), "is_applied": False}

    def apply_home(known: Mapping[str, Any]) -> tuple[bool, dict[str, Any]]:
        work.tell({**variables, "regions": known})
        return _apply(orders, work), work.outputs()

    regions = orders.regions(account, choices)
    is_changed, told = regions.deploy(apply_home, is_sure=orders.is_sure, is_dry=orders.is_dry)
    if orders.is_dry:
        return {"is_changed": is_changed, "is_applied": False}
    host_key.keep(told["data_key"])
    write_token(account, orders.checkout, told["settings"], told["parameters"], told["data_key"])
    if pair is not None:
        folder = f"/{choices.name}/packages"
        pair.keep(told["data_key"])
        write_token(account, orders.checkout, told["settings"], folder, told["data_key"])
    told_of = (
        "api_url",
        "gateway",
        "buckets",
        "settings",
        "azure_role",
        "azure_machine_role",
        "azure_subjects",
        "second_backend",
    )
    shown: dict[str, Any] = {name: told[name] for name in told_of if name in told}
    return {"is_changed": is_changed, "is_applied": is_changed, **shown}


def _apply(orders: Orders, work: Workspace) -> bool:
    """Show the plan, ask and apply it, unless this is a dry run; return whether it changes anything."""
    is_changed = work.plan()
    if is_changed and not orders.is_dry:
        ask("Apply this plan?", is_sure=orders.is_sure)
        work.apply_plan()
    return is_changed


def destroy(orders: Orders) -> dict[str, Any]:
    """Take the control plane down, but for the audit log; return what is left. Raises DeployError."""
    choices = Choices.read(orders.settings)
    account = Account(choices.region)
    bucket = _state_bucket(account, choices)
    if not account.has_bucket(bucket):
        raise DeployError(
            f"no platform {choices.name} was deployed to account {account.number} in {choices.region}",
            "look at the settings file, and at who you are in AWS",
        )
    work = orders.workspace(choices, "destroy")
    packing.make_module(orders.checkout, work.folder / "api")
    stand_in = work.folder / "versions.tf"  # what is taken down needs no packages
    packages = {f"{name}_package": str(stand_in) for name in ("functions", "platform", "gateway", "scan")}
    host_key = HostKey(account, f"/{choices.name}/gateway")
    variables = {**choices.variables, **packages, "gateway_host_key": host_key.public, "is_ending": True}
    if choices.has_packages:
        variables |= {"packages_package": str(stand_in), "packages_sha256": "0" * 64}
    work.tell(variables)
    work.init(bucket, choices.region)
    told = work.outputs()
    if "buckets" in told:
        _refuse_while_instances_exist(account, told["buckets"]["state"])
    regions = orders.regions(account, choices)
    ending = regions.plan_ends(regions.there())
    _show_end(orders, choices, work, variables)
    if orders.is_dry:
        return {"is_destroyed": False}
    ask("Take all of this down? Usage, builds and people's sessions go with the table.", is_sure=orders.is_sure)
    for name, one in ending.items():
        say(f"destroy: the network in {name}")
        one.apply_plan()
    if any(one.startswith("module.audit.") for one in work.resources()):
        work.run("state", "rm", "module.audit")
    work.run("apply", "-input=false", "-auto-approve", *(f"-target={one}" for one in _HELD))
    work.run("destroy", "-input=false", "-auto-approve")
    account.delete_parameters([f"/{choices.name}/{name}" for name in (*NAMES, *INDEX_NAMES)])
    audit = told.get("buckets", {}).get("audit")
    if audit is not None:
        say(f"destroy: the audit log stays, in the bucket {audit} with its key, as long as its retention says")
    say(f"destroy: Terraform's past states stay in the bucket {bucket}")
    return {"is_destroyed": True, "audit_bucket": audit, "state_bucket": bucket}


def _state_bucket(account: Account, choices: Choices) -> str:
    return f"{choices.name}-control-{account.number}-{choices.region}"


def _pack(orders: Orders, work: Workspace) -> dict[str, str]:
    packages = {name: work.folder / f"{name}.zip" for name in ("functions", "platform", "gateway", "scan")}
    packing.pack_functions(orders.checkout, work.folder / "api", packages["functions"])
    packing.pack_platform(orders.checkout, packages["platform"])
    packing.pack_gateway(orders.checkout, packages["gateway"])
    packing.pack_scan(orders.checkout, packages["scan"])
    return {f"{name}_package": str(path) for name, path in packages.items()}


def adopt_audit(account: Account, choices: Choices, work: Workspace) -> None:
    """Let Terraform take over the audit log of a platform that was taken down; the plan shows it as imported.

    Does nothing where there is none. Raises DeployError.
    """
    bucket = f"{choices.name}-audit-{account.number}-{choices.region}"
    if not account.has_bucket(bucket) or "module.audit.aws_s3_bucket.audit" in work.resources():
        return
    say(f"deploy: the audit log in {bucket} is there from before, and goes on")
    ids = {f"module.audit.{kind}.audit": bucket for kind in AUDIT_PARTS}
    ids["module.audit.aws_kms_key.audit"] = account.key_of_bucket(bucket).rpartition("/")[2]
    blocks = (f'import {{\n  to = {address}\n  id = "{known_as}"\n}}\n' for address, known_as in ids.items())
    (work.folder / "adopted.tf").write_text("\n".join(blocks), encoding="utf-8")


def _refuse_while_instances_exist(account: Account, state_bucket: str) -> None:
    living = account.living_instances(state_bucket)
    if living:
        few = ", ".join(living[:5]) + (" ..." if len(living) > 5 else "")  # noqa: PLR2004 - as many as a line takes
        raise DeployError(
            f"there are {len(living)} instances, with people's homes: {few}",
            "delete them first: `nightingale ps -a` shows them, `nightingale delete NAME` ends one with its home",
        )


def _show_end(orders: Orders, choices: Choices, work: Workspace, variables: dict[str, Any]) -> None:
    """Plan the end on a copy of the state, without the audit log: the real one is not touched before a yes."""
    preview = orders.workspace(choices, "preview")
    packing.make_module(orders.checkout, preview.folder / "api")
    preview.tell(variables)
    preview.init(None, choices.region)
    (preview.folder / "terraform.tfstate").write_text(work.read("state", "pull"), encoding="utf-8")
    if any(one.startswith("module.audit.") for one in preview.resources()):
        preview.run("state", "rm", "module.audit")
    preview.plan("-destroy")
