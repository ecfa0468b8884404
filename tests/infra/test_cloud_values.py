"""Azure's and Google's modules without their resources: what Terraform itself makes of the variables and locals.

Their providers cannot be had everywhere; refusals, what a machine is told and cloud-init need none of them.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from nightingale.adapters.azure_quarantine import FIRST, RULES
from nightingale_build.boot.__main__ import cloud_of
from nightingale_build.boot.azure_metadata import AzureMetadata
from nightingale_build.boot.told import read_told

INSTANCE = Path(__file__).parents[2] / "infra/instance"
TERRAFORM = shutil.which("terraform")
SUBSCRIPTION = "/subscriptions/00000000-1111-2222-3333-444444444444/resourceGroups/ngl/providers"
SNAPSHOT = f"{SUBSCRIPTION}/Microsoft.Compute/snapshots/ct"
COMMON: dict[str, Any] = {
    "instance_id": "i-0123456789",
    "name": "brain",
    "owner": "ada",
    "project": "demo",
    "desired_state": "running",
    "generation": 3,
    "home_gib": 10,
}
GOOD: dict[str, dict[str, Any]] = {
    "azure": {
        **COMMON,
        "machine_type": "Standard_NC24ads_A100_v4",
        "image": f"{SUBSCRIPTION}/Microsoft.Compute/galleries/ngl/images/notebook/versions/1.2.3",
        "datasets": [
            {"dataset": "mri", "version": "2", "tier": 2, "source": f"snapshot:{SNAPSHOT}"},
            {"dataset": "ct", "version": "1", "tier": 0, "source": f"snapshot:{SNAPSHOT}"},
        ],
        "network": {
            "location": "westeurope",
            "resource_group": "ngl",
            "subnet_id": f"{SUBSCRIPTION}/Microsoft.Network/virtualNetworks/ngl/subnets/instances",
            "gateway_cidr": "10.0.0.0/28",
            "api_cidrs": ["10.0.9.0/24"],
            "api_url": "https://api.example.org",
            "audience": "api://3f2504e0-4f89-11d3-9a0c-0305e82c3301/nightingale-machines",
        },
    },
    "gcp": {
        **COMMON,
        "machine_type": "c8-m32768-g1",
        "image": "europe-west4-docker.pkg.dev/ngl/images/notebook@sha256:" + "0" * 64,
        "tags": {"Cost Centre": "R&D"},
        "datasets": [
            {"dataset": "mri", "version": "2", "tier": 1, "source": "gcs:open-data/mri/v2"},
            {"dataset": "ct", "version": "1", "tier": 0, "source": "gcs:open-ct"},
        ],
        "network": {
            "project_id": "ngl-demo",
            "region": "europe-west4",
            "network": "closed",
            "subnet": "instances",
            "service_account": "gateway@ngl-demo.iam.gserviceaccount.com",
            "api_url": "https://api.example.org",
            "api_cidrs": ["198.51.100.0/24"],
        },
    },
}


def dataset(source: str, tier: int = 0, name: str = "ct") -> dict[str, Any]:
    return {"dataset": name, "version": "1", "tier": tier, "source": source}


Case = tuple[str, dict[str, Any], str]
REFUSED: list[Case] = [
    ("azure", {"machine_type": "m7i.large"}, "machine_type must be a size of Azure's"),
    ("azure", {"image": "ami-0123456789"}, "image must be the id of an image"),
    ("azure", {"home_gib": 40000}, "home_gib must be a whole number from 1 to 32767"),
    ("azure", {"home_gib": 1.5}, "home_gib must be a whole number from 1 to 32767"),
    ("azure", {"home_snapshot_id": "snap-1"}, "home_snapshot_id must be a snapshot's id in Azure"),
    ("azure", {"datasets": [dataset("/srv/ct")]}, "A dataset's source in Azure must be snapshot:"),
    ("azure", {"datasets": [dataset(f"snapshot:{SNAPSHOT}", tier=4)]}, "A dataset's tier must be 0, 1, 2 or 3"),
    ("azure", {"datasets": [dataset(f"snapshot:{SNAPSHOT}", name="../etc")]}, "it becomes a folder"),
    ("azure", {"datasets": [dataset(f"snapshot:{SNAPSHOT}")] * 2}, "A dataset can be mounted once only"),
    ("azure", {"desired_state": "paused"}, "desired_state must be running, stopped or absent"),
    ("azure", {"network": {"subnet_id": "subnet-1"}}, "network.subnet_id must be a subnet's id in Azure"),
    ("azure", {"network": {"gateway_cidr": "0.0.0.0/0"}}, "network.gateway_cidr must be the gateway's IPv4 range"),
    ("azure", {"network": {"api_cidrs": ["0.0.0.0/0"]}}, "network.api_cidrs must name where the API is reached"),
    ("azure", {"network": {"api_cidrs": []}}, "network.api_cidrs must name where the API is reached"),
    ("azure", {"network": {"api_url": "http://api"}}, "network.api_url must be an https URL"),
    ("azure", {"network": {"audience": "https://management.azure.com/"}}, "network.audience must be the id URI"),
    ("gcp", {"machine_type": "n2-standard-4"}, "machine_type must be like c8-m32768-g1"),
    ("gcp", {"machine_type": "c8-m65536-g0"}, "Cloud Run has 1, 2, 4, 6 or 8 cores"),
    ("gcp", {"machine_type": "c3-m4096-g0"}, "Cloud Run has 1, 2, 4, 6 or 8 cores"),
    ("gcp", {"machine_type": "c8-m32768-g2"}, "Cloud Run has 1, 2, 4, 6 or 8 cores"),
    ("gcp", {"machine_type": "c2-m8192-g1"}, "With a GPU Cloud Run asks for 4 cores"),
    ("gcp", {"machine_type": "c4-m8192-g1"}, "With a GPU Cloud Run asks for 4 cores"),
    ("gcp", {"image": "notebook:latest"}, "image must be a container in Artifact Registry"),
    ("gcp", {"desired_state": "stopped"}, "Cloud Run has no machine that could be stopped"),
    ("gcp", {"spot": True}, "Cloud Run has no spot services"),
    ("gcp", {"home_snapshot_id": "x"}, "Buckets have no snapshots"),
    ("gcp", {"datasets": [dataset("gcs:a-bucket/../b")]}, "A dataset's source in Google Cloud must be gcs:bucket"),
    ("gcp", {"datasets": [dataset("gcs:a-bucket", tier=2)]}, "Datasets of tier 2 and 3 are not mounted"),
    ("gcp", {"network": {"project_id": "X"}}, "network.project_id must be a Google Cloud project's id"),
    ("gcp", {"network": {"service_account": "me"}}, "network.service_account must be the gateway's service account"),
    ("gcp", {"network": {"api_url": "http://api"}}, "network.api_url must be an https URL"),
    ("gcp", {"network": {"api_cidrs": []}}, "network.api_cidrs must name where the API is reached"),
    ("gcp", {"network": {"api_cidrs": ["0.0.0.0/0"]}}, "network.api_cidrs must name where the API is reached"),
    ("gcp", {"network": {"google_apis": "public"}}, "network.google_apis must be private"),
]

pytestmark = [
    pytest.mark.terraform,
    pytest.mark.skipif(TERRAFORM is None, reason="Terraform is not on PATH"),
]


def terraform(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(TERRAFORM), f"-chdir={folder}", *command], capture_output=True, text=True, timeout=50, check=False
    )


def bare(place: str, folder: Path) -> Path:
    """Return a module of the place's variables and locals alone; its locals are one output."""
    text = (INSTANCE / place / "main.tf").read_text(encoding="utf-8")
    start = text.index("\nlocals {\n") + 1
    values = text[start : text.index("\n}\n", start) + 3]
    shutil.copy(INSTANCE / place / "variables.tf", folder)
    told = "local.told"
    if place == "azure":
        shutil.copy(INSTANCE / place / "cloud-init.yaml.tftpl", folder)
        call = text[text.index("templatefile(") : text.index("}))\n", text.index("templatefile(")) + 2]
        told = f"{{ told = local.told, subscription = local.subscription, lun = local.lun, cloud_init = {call} }}"
    if place == "gcp":
        names = ("told", "bucket", "prefix", "labels", "google_cidr", "firewall_project")
        told = f"{{ {', '.join(f'{name} = local.{name}' for name in names)} }}"
    (folder / "main.tf").write_text(f'{values}\noutput "values" {{\n  value = {told}\n}}\n', encoding="utf-8")
    return folder


def given(place: str, change: dict[str, Any], folder: Path) -> None:
    variables = {**GOOD[place], **change, "network": GOOD[place]["network"] | change.get("network", {})}
    (folder / "terraform.tfvars.json").write_text(json.dumps(variables), encoding="utf-8")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a bare module for each place; nothing is downloaded, so there is nothing to initialise."""
    return {place: bare(place, tmp_path_factory.mktemp(place)) for place in GOOD}


def values(folder: Path) -> Any:
    applied = terraform(folder, "apply", "-auto-approve", "-input=false", "-no-color")
    assert applied.returncode == 0, applied.stderr
    return json.loads(terraform(folder, "output", "-json", "values").stdout)


def rounds() -> list[list[Case]]:
    """Return the cases in groups of one place and different variables: one run of Terraform finds all their faults."""
    groups: list[list[Case]] = []
    for case in REFUSED:
        for group in groups:
            taken = {name for _, change, _ in group for name in change}
            if group[0][0] == case[0] and not taken & set(case[1]):
                group.append(case)
                break
        else:
            groups.append([case])
    return groups


@pytest.mark.parametrize("cases", rounds(), ids=lambda cases: f"{cases[0][0]}-{len(cases)}")
def test_what_a_place_cannot_do_is_refused_in_words(folders: dict[str, Path], cases: list[Case]) -> None:
    place = cases[0][0]
    given(place, {name: value for _, change, _ in cases for name, value in change.items()}, folders[place])
    planned = terraform(folders[place], "plan", "-input=false", "-no-color", "-lock=false")
    assert planned.returncode == 1
    said = " ".join(planned.stderr.replace("│", " ").split())
    assert [words for _, _, words in cases if said.count(words) != 1] == []
    assert said.count("Invalid value for variable") == len(cases), said


def test_an_azure_machine_is_told_what_it_needs_and_no_more(folders: dict[str, Path]) -> None:
    given("azure", {}, folders["azure"])
    made = values(folders["azure"])
    assert made["subscription"] == "00000000-1111-2222-3333-444444444444"
    assert made["lun"] == {"ct": 1, "mri": 2}
    told = made["told"]
    assert (told["place"], told["region"], told["tier"], told["port"]) == ("azure", "westeurope", 2, 8888)
    assert told["home"]["device"] == "/dev/disk/azure/data/by-lun/0"
    assert [(one["dataset"], one["source"]) for one in told["datasets"]] == [
        ("mri", "/dev/disk/azure/data/by-lun/2"),
        ("ct", "/dev/disk/azure/data/by-lun/1"),
    ]
    assert told["home"]["mount"] == "/srv/nightingale/home"
    assert "generation" not in told


def test_what_an_azure_machine_is_told_is_what_it_can_read(folders: dict[str, Path], tmp_path: Path) -> None:
    given("azure", {"spot": True}, folders["azure"])
    path = tmp_path / "instance.json"
    path.write_text(json.dumps(values(folders["azure"])["told"]), encoding="utf-8")
    told = read_told(path)
    assert (told.audience, told.is_spot) == (GOOD["azure"]["network"]["audience"], True)
    assert isinstance(cloud_of(told), AzureMetadata)


def test_cloud_init_finds_azures_document_well_made(folders: dict[str, Path], tmp_path: Path) -> None:
    program = shutil.which("cloud-init")
    if program is None:
        pytest.skip("cloud-init is not installed")
    given("azure", {}, folders["azure"])
    document = tmp_path / "user-data"
    text = values(folders["azure"])["cloud_init"]
    assert text.count("users: []\n") == 1
    # cloud-init 22.4 finds an empty list too short, and makes no users of it, as its documentation has it.
    document.write_text(text.replace("users: []\n", ""), encoding="utf-8")
    ended = subprocess.run(
        [program, "schema", "--config-file", str(document)], capture_output=True, text=True, timeout=50, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_azures_own_rules_leave_the_first_place_to_quarantine(tmp_path: Path) -> None:
    text = (INSTANCE / "azure" / "main.tf").read_text(encoding="utf-8")
    start = text.index("\nlocals {\n  rules = ")
    rules = text[start : text.index("\n}\n", start) + 3].replace("local.port", "8888")
    each = re.search(r'"azurerm_network_security_rule" "machine" \{\n  for_each = (.+)\n', text)
    assert each is not None
    closed = f'output "values" {{\n  value = {each[1].replace("local.is_absent", "false")}\n}}\n'
    shutil.copy(INSTANCE / "azure" / "variables.tf", tmp_path)
    (tmp_path / "main.tf").write_text(rules + closed, encoding="utf-8")
    given("azure", {}, tmp_path)
    made = values(tmp_path)
    assert len({(one["direction"], one["priority"]) for one in made.values()}) == len(made) == 4
    assert min(one["priority"] for one in made.values()) > FIRST
    assert not set(RULES) & set(made)
    assert [one["cidrs"] for one in made.values() if one["access"] == "Allow"] == [None, ["10.0.9.0/24"]]


def test_azures_cloud_init_writes_what_the_machine_is_told_and_lets_nobody_in(folders: dict[str, Path]) -> None:
    given("azure", {}, folders["azure"])
    made = values(folders["azure"])
    assert made["cloud_init"].startswith("#cloud-config\n")
    config = yaml.safe_load(made["cloud_init"])
    (file,) = config["write_files"]
    assert (file["path"], file["encoding"]) == ("/etc/nightingale/instance.json", "b64")
    assert json.loads(base64.b64decode(file["content"])) == made["told"]
    assert (config["ssh_pwauth"], config["disable_root"], config["users"]) == (False, True, [])
    assert config["runcmd"] == [["systemctl", "start", "--no-block", "nightingale-instance.service"]]


def test_a_service_mounts_the_dataset_s_own_prefix_and_is_labelled_as_google_allows(folders: dict[str, Path]) -> None:
    given("gcp", {}, folders["gcp"])
    made = values(folders["gcp"])
    assert made["bucket"] == {"mri": "open-data", "ct": "open-ct"}
    assert made["prefix"] == {"mri": "mri/v2", "ct": ""}
    assert made["labels"]["cost-centre"] == "r-d"
    assert (made["told"]["tier"], made["told"]["home"]["device"]) == (1, None)


@pytest.mark.parametrize(
    ("network", "apis", "firewall"),
    [
        ({}, "199.36.153.8/30", "ngl-demo"),
        ({"google_apis": "restricted"}, "199.36.153.4/30", "ngl-demo"),
        ({"network": "projects/host-net/global/networks/closed"}, "199.36.153.8/30", "host-net"),
    ],
    ids=["private", "restricted", "shared"],
)
def test_a_service_s_ways_out_are_closed_where_its_network_is(
    folders: dict[str, Path], network: dict[str, str], apis: str, firewall: str
) -> None:
    given("gcp", {"network": network}, folders["gcp"])
    made = values(folders["gcp"])
    assert (made["google_cidr"], made["firewall_project"]) == (apis, firewall)
