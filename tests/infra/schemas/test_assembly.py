"""A provider's schema is read out of a package of the generator's shape, in both styles of its JavaScript."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from nightingale_schemas.assembly import Assembly, AssemblyError
from nightingale_schemas.schema import Argument

DOCS = "https://registry.terraform.io/providers/x/cloud/3.2.1/docs/resources/machine"


def prop(name: str, snake: str, kind: Any, *, optional: bool = False, is_block: bool = False) -> dict[str, Any]:
    link = f"Docs at Terraform Registry: {{@link {DOCS}#{snake} Machine#{snake}}}"
    docs = {"summary": f"{snake} block.", "remarks": link} if is_block else {"summary": f"{link}."}
    return {"name": name, "type": kind, "docs": docs, **({"optional": True} if optional else {})}


def struct(name: str) -> dict[str, Any]:
    return {"fqn": f"@cdktf/provider-cloud.machine.{name}"}


def array(inner: dict[str, Any]) -> dict[str, Any]:
    many = {"collection": {"elementtype": inner, "kind": "array"}}
    return {"union": {"types": [{"fqn": "cdktf.IResolvable"}, many]}}


STRING = {"primitive": "string"}
BOOL = {"union": {"types": [{"primitive": "boolean"}, {"fqn": "cdktf.IResolvable"}]}}
TYPES = {
    "machine.MachineConfig": [
        prop("coreCount", "core_count", {"primitive": "number"}),
        prop("isSpot", "is_spot", BOOL, optional=True),
        prop("id", "id", STRING, optional=True),
        prop("body", "body", {"collection": {"elementtype": {"primitive": "any"}, "kind": "map"}}, optional=True),
        prop("tags", "tags", {"collection": {"elementtype": STRING, "kind": "map"}}, optional=True),
        prop("rule", "rule", array(struct("MachineRule")), optional=True),
        prop("bootDisk", "boot_disk", struct("MachineBootDisk"), is_block=True),
        prop("dataDisk", "data_disk", array(struct("MachineDataDisk")), optional=True, is_block=True),
    ],
    "machine.MachineRule": [prop("port", "port", {"primitive": "number"}, optional=True)],
    "machine.MachineBootDisk": [prop("imageId", "image_id", STRING)],
    "machine.MachineDataDisk": [prop("gib", "gib", {"primitive": "number"})],
    "provider.CloudProviderConfig": [prop("features", "features", array(struct("MachineRule")), is_block=True)],
}
CLASSES = """
class MachineBootDiskOutputReference extends cdktf.ComplexObject {
    get imageId() { return this.getStringAttribute('image_id'); }
}
class MachineDataDiskOutputReference extends cdktf.ComplexObject {
    get gib() { return this.getNumberAttribute('gib'); }
}
class MachineDataDiskList extends cdktf.ComplexList {
}
class MachineStateOutputReference extends cdktf.ComplexObject {
    get words() { return this.getStringAttribute("words"); }
}
class Machine extends cdktf.TerraformResource {
    constructor() {
        this._bootDisk = new MachineBootDiskOutputReference(this, "boot_disk");
        this._dataDisk = new MachineDataDiskList(this, "data_disk", false);
        this._state = new MachineStateList(this, "state", false);
        this._output = new cdktf.AnyMap(this, "output");
    }
    get coreCount() { return this.getNumberAttribute('core_count'); }
    get id() { return this.getStringAttribute('id'); }
    get rule() { return this.interpolationForAttribute('rule'); }
"""
STYLES = {
    "assigned": CLASSES + '}\nMachine.tfResourceType = "cloud_machine";\n',
    "static": CLASSES + '    static tfResourceType = "cloud_machine";\n}\n',
}


def packed(folder: Path, script: str, name: str = "machine", config: str = "machine.MachineConfig") -> Path:
    """Return a wheel of the generator's shape with one resource or data source, whose struct is `config`."""
    named = {**TYPES, config: TYPES["machine.MachineConfig"]}
    types = {f"@cdktf/provider-cloud.{key}": {"properties": properties} for key, properties in named.items()}
    described = {"name": "@cdktf/provider-cloud", "version": "9.9.9", "types": types}
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as files:
        for path, text in ((".jsii", json.dumps(described)), (f"lib/{name}/index.js", script)):
            member = tarfile.TarInfo(f"package/{path}")
            member.size = len(text.encode())
            files.addfile(member, io.BytesIO(text.encode()))
    wheel = folder / "cloud.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("cloud/_jsii/provider-cloud@9.9.9.jsii.tgz", inner.getvalue())
    return wheel


@pytest.mark.parametrize("style", STYLES)
def test_a_resource_is_read_whole(tmp_path: Path, style: str) -> None:
    wheel = packed(tmp_path, STYLES[style])
    kept = Assembly(wheel, "cloud").extract("cdktf-cdktf-provider-cloud", ["cloud_machine"], [])
    assert (kept.provider_version, kept.package_version) == ("3.2.1", "9.9.9")
    assert kept.package_sha256 == hashlib.sha256(wheel.read_bytes()).hexdigest()
    machine = kept.resources["cloud_machine"]
    assert machine.arguments["core_count"] == Argument("number", is_required=True)
    assert machine.arguments["is_spot"] == Argument("bool")
    assert machine.arguments["body"] == Argument("any")
    assert machine.arguments["tags"] == Argument("map(string)")
    assert machine.arguments["rule"].type == "list(object)"
    assert machine.arguments["rule"].members is not None
    assert list(machine.arguments["rule"].members.arguments) == ["port"]
    assert "id" not in machine.arguments
    assert (machine.blocks["boot_disk"].is_required, machine.blocks["boot_disk"].is_single) == (True, True)
    assert (machine.blocks["data_disk"].is_required, machine.blocks["data_disk"].is_single) == (False, False)
    assert machine.reads == {
        "core_count": "number",
        "id": "string",
        "rule": "any",
        "output": "any",
        "boot_disk": "block",
        "data_disk": "block",
        "state": "block",
    }
    assert machine.blocks["data_disk"].reads == {"gib": "number"}
    assert machine.computed["state"].reads == {"words": "string"}
    assert kept.settings.blocks["features"].is_required


def test_a_data_source_may_be_asked_by_its_id(tmp_path: Path) -> None:
    script = STYLES["static"].replace("Machine", "DataCloudMachine")
    wheel = packed(tmp_path, script, "data-cloud-machine", "dataCloudMachine.DataCloudMachineConfig")
    kept = Assembly(wheel, "cloud").extract("p", [], ["cloud_machine"])
    assert "id" in kept.data_sources["cloud_machine"].arguments


def test_a_resource_that_the_provider_lost_is_named(tmp_path: Path) -> None:
    assembly = Assembly(packed(tmp_path, STYLES["static"]), "cloud")
    with pytest.raises(AssemblyError, match="cloud_disk is not in this version"):
        assembly.extract("p", ["cloud_disk"], [])
    with pytest.raises(AssemblyError, match="cloud_machine is not in this version"):
        assembly.extract("p", [], ["cloud_machine"])


def test_another_package_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "other.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("other/__init__.py", "")
    with pytest.raises(AssemblyError, match="holds 0 jsii tarballs, not one"):
        Assembly(wheel, "cloud")
