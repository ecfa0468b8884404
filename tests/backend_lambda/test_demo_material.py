"""The demo's dataset and cluster file."""

import hashlib
import sys
from pathlib import Path

import msgspec
import pytest
import yaml

from nightingale.contract.schemas import ClusterIn
from nightingale.contract.vocabulary import Plan, Role
from nightingale_local.demo_material import (
    CT_FILE,
    DATASET,
    FILES,
    MANIFEST,
    VERSION,
    DemoMaterialError,
    demo_cluster,
    is_intact,
    write_datasets,
)

IMAGE_PYTHON = Path(__file__).parents[2] / "notebook-image/.venv/bin/python"
KEYS = {"ada": 'ssh-ed25519 AAAAC3Nz ada\'s "laptop": $HOME # one', "grace": "ssh-ed25519 AAAAC3Nx grace\n"}
needs_image = pytest.mark.skipif(not IMAGE_PYTHON.exists(), reason="the image's environment is not made here")


def test_the_cluster_file_loads_as_the_wire_type_with_the_keys_it_was_given(tmp_path: Path) -> None:
    cluster = msgspec.convert(yaml.safe_load(demo_cluster(tmp_path, KEYS)), ClusterIn)
    people = {person.name: person for person in cluster.people}
    assert {name: person.keys for name, person in people.items()} == {n: (k.strip(),) for n, k in KEYS.items()}
    assert [name for name, person in people.items() if person.is_admin] == ["grace"]
    heartscan, openlab = cluster.projects
    assert (heartscan.plan, openlab.plan) == (Plan.PRIVATE, Plan.NONPROFIT)
    assert {member.person: member.role for member in heartscan.members} == {"ada": Role.RESEARCHER, "grace": Role.LEAD}
    assert cluster.datasets[0].local == str(tmp_path / DATASET / VERSION)


def test_the_cluster_file_names_its_schema_for_editors(tmp_path: Path) -> None:
    first = demo_cluster(tmp_path, KEYS).splitlines()[0]
    assert first == "# yaml-language-server: $schema=cluster.schema.json"


def test_every_size_of_the_cluster_file_has_a_price(tmp_path: Path) -> None:
    cluster = msgspec.convert(yaml.safe_load(demo_cluster(tmp_path, KEYS)), ClusterIn)
    for rate in cluster.rates:
        assert set(rate.cpu) == {size.name for size in cluster.sizes.cpu}
        assert set(rate.memory) == {size.name for size in cluster.sizes.memory}
        assert set(rate.gpu) == {size.name for size in cluster.sizes.gpu}


def test_a_person_without_a_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DemoMaterialError, match="ada, grace"):
        demo_cluster(tmp_path, {"ada": KEYS["ada"]})


@pytest.mark.image
@needs_image
def test_the_dataset_is_real_dicom_readable_by_every_account_and_listed_with_checksums(tmp_path: Path) -> None:
    write_datasets(tmp_path, IMAGE_PYTHON)
    version = tmp_path / DATASET / VERSION
    lines = (version / MANIFEST).read_text().splitlines()
    sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
    assert set(sums) == set(FILES)
    for name, digest in sums.items():
        content = (version / name).read_bytes()
        assert content[128:132] == b"DICM"
        assert hashlib.sha256(content).hexdigest() == digest
        assert (version / name).stat().st_mode & 0o777 == 0o644
        assert (version / name).parent.stat().st_mode & 0o005 == 0o005
    assert [path.name for path in version.parent.iterdir()] == [VERSION]


@pytest.mark.image
@needs_image
def test_a_whole_dataset_is_left_alone_and_a_damaged_one_is_made_anew(tmp_path: Path) -> None:
    write_datasets(tmp_path, IMAGE_PYTHON)
    version = tmp_path / DATASET / VERSION
    before = (version / CT_FILE).stat().st_ino
    write_datasets(tmp_path, Path("/nonexistent/python"))
    assert (version / CT_FILE).stat().st_ino == before
    (version / CT_FILE).write_bytes(b"torn")
    assert not is_intact(version)
    write_datasets(tmp_path, IMAGE_PYTHON)
    assert is_intact(version)


def test_an_environment_without_pydicom_is_an_error_that_names_the_next_step(tmp_path: Path) -> None:
    without = tmp_path / "python"
    without.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # -S: no installed package is found
    without.chmod(0o755)
    with pytest.raises(DemoMaterialError, match=r"(?s)pydicom.*\./run setup"):
        write_datasets(tmp_path, without)
    assert not (tmp_path / DATASET / VERSION).exists()
