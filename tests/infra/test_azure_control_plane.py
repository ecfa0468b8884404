"""What the second API may do in Azure, and what it is told: read out of the module itself."""

from __future__ import annotations

import re
from pathlib import Path

from nightingale.hosting.settings import ACCOUNT, IMAGE, INSTANCE_ROLE, NETWORK, QUARANTINE_GROUP, REGIONS
from nightingale_schemas.module import read_module
from nightingale_schemas.nodes import Block, Call, Conditional, Expression, Literal, Mapping, Traversal, walk

MODULE = read_module(Path(__file__).parents[2] / "infra/control-plane/azure")
STORAGE, QUEUE, INSIGHTS = "azurerm_storage_account", "azurerm_storage_queue", "azurerm_application_insights"
ALLOWED = {
    (STORAGE, "Storage Blob Data Owner"),
    (QUEUE, "Storage Queue Data Message Processor"),
    (QUEUE, "Storage Queue Data Reader"),
    (QUEUE, "Storage Queue Data Message Sender"),
    (INSIGHTS, "Monitoring Metrics Publisher"),
}
NEEDED = {
    "NIGHTINGALE_TABLE",
    "NIGHTINGALE_AUDIT_BUCKET",
    "NIGHTINGALE_BUILDS_BUCKET",
    "NIGHTINGALE_CODEBUILD_PROJECT",
    "NIGHTINGALE_ADDRESSES",
    "NIGHTINGALE_AWS_ROLE",
    "NIGHTINGALE_AWS_AUDIENCE",
    "AWS_REGION",
    "AZURE_CLIENT_ID",
    "NIGHTINGALE_QUEUE__queueServiceUri",
}
PLACE = {NETWORK, IMAGE, ACCOUNT, INSTANCE_ROLE, QUARANTINE_GROUP, REGIONS}
KEYS = ("_key", "password", "secret", "connection_string", "token")


def members(expression: Expression) -> dict[str, Expression]:
    assert isinstance(expression, Mapping)
    return {str(key.value): value for key, value in expression.items if isinstance(key, Literal)}


def settings() -> dict[str, Expression]:
    """Return the app's settings: what is merged, with the gateway's."""
    merged = MODULE.values["settings"].value
    assert isinstance(merged, Call)
    _, always, gateway, _ = merged.arguments
    assert isinstance(gateway, Conditional)
    return members(always) | members(gateway.no)


def argument(block: Block, name: str) -> object:
    value = block.body.attributes[name].value
    assert isinstance(value, Literal)
    return value.value


def test_the_identity_has_these_roles_and_no_other() -> None:
    (assignment,) = [block for (of, _), block in MODULE.resources.items() if of == "azurerm_role_assignment"]
    each = assignment.body.attributes["for_each"].value
    assert isinstance(each, Traversal)
    assert (each.root, each.steps) == ("local", ("roles",))
    granted = set()
    for one in members(MODULE.values["roles"].value).values():
        scope, role = members(one)["scope"], members(one)["role"]
        assert isinstance(scope, Traversal)
        assert isinstance(role, Literal)
        granted.add((scope.root, role.value))
    assert granted == ALLOWED


def test_the_app_is_told_all_that_it_asks_for() -> None:
    assert set(settings()) >= NEEDED


def test_the_place_aws_is_told_in_one_piece_and_takes_the_place_of_no_other_setting() -> None:
    merged = MODULE.values["settings"].value
    assert isinstance(merged, Call)
    place = merged.arguments[0]  # of two with one name the later one holds
    assert isinstance(place, Traversal)
    assert (place.root, place.steps) == ("var", ("aws", "place"))
    checked = (MODULE.folder / "variables.tf").read_text(encoding="utf-8")
    for name in PLACE:
        assert f'"{name}"' in checked
    assert not PLACE & set(settings())


def test_what_lambda_is_told_of_the_place_is_what_the_app_may_be_told() -> None:
    aws = (MODULE.folder.parent / "aws" / "functions.tf").read_text(encoding="utf-8")
    place = aws.split("place = var.instance_image")[1].split("environment = ")[0]
    regions = (MODULE.folder.parent / "aws" / "regions.tf").read_text(encoding="utf-8")
    told = set(re.findall(r"\bNIGHTINGALE_\w+", place)) | set(re.findall(r"\bNIGHTINGALE_\w+", regions))
    assert told == PLACE
    checked = (MODULE.folder / "variables.tf").read_text(encoding="utf-8")
    assert set(re.findall(r'"(NIGHTINGALE_\w+)"', checked)) == PLACE


def test_no_setting_is_made_of_a_key() -> None:
    """Application Insights' connection string opens nothing: writing without an identity is off."""
    for name, value in settings().items():
        used = {step for one in walk(value) if isinstance(one, Traversal) for step in one.steps}
        suspect = {step for step in used if any(word in step for word in KEYS)} - {"host_key"}
        assert suspect <= ({"connection_string"} if name == "APPLICATIONINSIGHTS_CONNECTION_STRING" else set()), name
    insights = MODULE.resources[(INSIGHTS, "api")]
    assert argument(insights, "local_authentication_enabled") is False


def test_no_output_is_a_key() -> None:
    for name, block in MODULE.outputs.items():
        used = {
            step
            for one in walk(block.body.attributes["value"].value)
            if isinstance(one, Traversal)
            for step in one.steps
        }
        assert not [step for step in used if any(word in step for word in KEYS)], name


def test_the_storage_account_opens_to_identities_alone() -> None:
    account = MODULE.resources[(STORAGE, "host")]
    for name in ("shared_access_key_enabled", "local_user_enabled", "allow_nested_items_to_be_public"):
        assert argument(account, name) is False
    assert argument(account, "min_tls_version") == "TLS1_2"
    for (of, name), block in MODULE.resources.items():
        if of == "azurerm_storage_container":
            assert argument(block, "container_access_type") == "private", name


def test_every_job_that_stands_still_in_standby_is_named() -> None:
    jobs = MODULE.values["jobs"].value
    assert [one.value for one in jobs.items] == ["watch_first", "watch_second", "close_hours", "end_orphans"]
