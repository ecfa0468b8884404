"""Reads a provider's schema out of the package that CDK for Terraform, or its successor, generated from it.

The wheel holds a tarball with two things: `.jsii`, JSON that says for every struct which properties it has, of which
types, which are optional, and whether they are blocks; and the generated JavaScript, where every attribute that can be
read stands with its exact name. Together they are the provider's schema, but for limits on numbers and conflicts.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from nightingale_schemas.schema import Argument, Block, ProviderSchema

NAME = re.compile(r"\{@link \S+#(\w+) ")
TYPE = re.compile(r'^(?:\w+\.| +static )tfResourceType = "(\w+)";$', re.MULTILINE)
CLASS = re.compile(r"^class (\w+) extends", re.MULTILINE)
READ = re.compile(r"this\.get(\w+)Attribute\(['\"](\w+)['\"]\)")
READ_WHOLE = re.compile(r"(?:interpolationForAttribute\(|= new cdk\w+\.\w+\(this, )['\"](\w+)['\"]")
INNER = re.compile(r"= new (\w+?)(?:OutputReference|List|Map)\(this, \"(\w+)\"")
REGISTRY = re.compile(r"registry\.terraform\.io/providers/[\w-]+/[\w-]+/(\d+\.\d+\.\d+)/docs")
PRIMITIVES = {"string": "string", "number": "number", "boolean": "bool", "any": "any", "json": "any"}
READS = {"String": "string", "Number": "number", "Boolean": "bool", "List": "list(string)", "StringMap": "map(string)"}
OF_THE_KIT = ("cdktf.", "cdktn.")
GENERATED_ONLY = frozenset({"id"})
"""`id` is offered as an argument of every resource by the generator; providers only answer it."""


class AssemblyError(Exception):
    """The package is not what the generator makes; the words say where."""


class Assembly:
    """One provider's package. Types are read when asked for: a whole provider has fifteen thousand structs."""

    def __init__(self, wheel: Path, provider: str) -> None:
        """Open the wheel. Raises OSError and AssemblyError."""
        content = wheel.read_bytes()
        self._provider = provider
        self.sha256 = hashlib.sha256(content).hexdigest()
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            inner = [name for name in archive.namelist() if name.endswith(".jsii.tgz")]
            if len(inner) != 1:
                raise AssemblyError(f"{wheel.name} holds {len(inner)} jsii tarballs, not one")
            tarball = archive.read(inner[0])
        self._scripts: dict[str, str] = {}
        described = b""
        with tarfile.open(fileobj=io.BytesIO(tarball)) as files:
            for member in files:
                if member.name == "package/.jsii":
                    described = _content(files, member)
                elif member.name.startswith("package/lib/") and member.name.endswith("/index.js"):
                    self._scripts[member.name.split("/")[2]] = _content(files, member).decode()
        document = msgspec.json.decode(described)
        self._types: dict[str, dict[str, Any]] = document["types"]
        self._version = str(document["version"])
        self._name = str(document["name"])
        found = REGISTRY.search(described.decode())
        if found is None:
            raise AssemblyError(f"{wheel.name} does not name the version of its provider")
        self.provider_version = found[1]

    def extract(self, package: str, resources: Iterable[str], data_sources: Iterable[str]) -> ProviderSchema:
        """Return the schema of the named types. Raises AssemblyError for one that the provider does not have."""
        return ProviderSchema(
            provider=self._provider,
            provider_version=self.provider_version,
            package=package,
            package_version=self._version,
            package_sha256=self.sha256,
            settings=self._struct(f"{self._name}.provider.{self._provider.capitalize()}ProviderConfig"),
            resources={name: self._described(name, "") for name in sorted(resources)},
            data_sources={name: self._described(name, f"data-{self._provider}-") for name in sorted(data_sources)},
        )

    def _described(self, name: str, prefix: str) -> Block:
        folder = prefix + name.removeprefix(f"{self._provider}_").replace("_", "-")
        script = self._scripts.get(folder, "")
        classes = CLASS.findall(script)
        if name not in TYPE.findall(script) or not classes:
            raise AssemblyError(f"{name} is not in this version of the provider")
        of = str(classes[-1])  # after those of its blocks
        namespace = re.sub(r"-(\w)", lambda found: found[1].upper(), folder)
        block = self._struct(f"{self._name}.{namespace}.{of}Config")
        if not prefix:  # a data source may be asked by its id
            arguments = {key: value for key, value in block.arguments.items() if key not in GENERATED_ONLY}
            block = msgspec.structs.replace(block, arguments=arguments)
        return _with_reads(block, of, _readable(script))

    def _struct(self, fqn: str) -> Block:
        described = self._types.get(fqn)
        if described is None:
            raise AssemblyError(f"the package has no {fqn}")
        arguments: dict[str, Argument] = {}
        blocks: dict[str, Block] = {}
        for prop in described.get("properties", []):
            docs = prop.get("docs", {})
            found = NAME.search(f"{docs.get('remarks', '')} {docs.get('summary', '')}")
            name = found[1] if found else str(prop["name"])
            is_required = not prop.get("optional", False)
            inner = _struct_name(prop["type"])
            if inner is not None and str(docs.get("summary", "")).endswith(" block."):
                block = self._struct(inner)
                is_single = "fqn" in prop["type"] or name == "timeouts"
                blocks[name] = msgspec.structs.replace(block, is_required=is_required, is_single=is_single)
            else:
                written = self._struct(inner) if inner is not None and "collection" in str(prop["type"]) else None
                arguments[name] = Argument(_type(prop["type"]), is_required, written)
        return Block(arguments=arguments, blocks=blocks)


def _content(files: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    handle = files.extractfile(member)
    if handle is None:
        raise AssemblyError(f"{member.name} is no file")
    return handle.read()


def _struct_name(described: dict[str, Any]) -> str | None:
    """Return the struct that a property's type names, alone, in an array or in a union; None when it names none."""
    if "fqn" in described:
        name = str(described["fqn"])
        return None if name.startswith(OF_THE_KIT) else name
    if "collection" in described:
        return _struct_name(described["collection"]["elementtype"])
    names = [_struct_name(one) for one in described.get("union", {}).get("types", [])]
    return next((name for name in names if name is not None), None)


def _type(described: dict[str, Any]) -> str:
    """Return a property's type as Terraform writes it."""
    if "primitive" in described:
        return PRIMITIVES[described["primitive"]]
    if "collection" in described:
        kind = {"array": "list", "map": "map"}[described["collection"]["kind"]]
        inner = _type(described["collection"]["elementtype"])
        return "any" if (kind, inner) == ("map", "any") else f"{kind}({inner})"  # how the generator writes "dynamic"
    if "fqn" in described:
        return "any" if str(described["fqn"]).startswith(OF_THE_KIT) else "object"
    kinds = {_type(one) for one in described["union"]["types"]} - {"any"}
    return kinds.pop() if len(kinds) == 1 else "any"


def _readable(script: str) -> dict[str, tuple[dict[str, str], dict[str, str]]]:
    """Return for each class its attributes with their types, and its inner blocks with the classes they are of."""
    pieces = CLASS.split(script)[1:]
    return {
        name.removesuffix("OutputReference"): (
            dict.fromkeys(READ_WHOLE.findall(text), "any")
            | {found[2]: READS.get(found[1], "any") for found in READ.finditer(text)},
            {found[2]: found[1] for found in INNER.finditer(text)},
        )
        for name, text in zip(pieces[::2], pieces[1::2], strict=True)
        if not name.endswith(("List", "Map")) or f"class {name}OutputReference extends" not in script
    }


def _with_reads(block: Block, name: str, readable: dict[str, tuple[dict[str, str], dict[str, str]]]) -> Block:
    attributes, inner = readable.get(name, ({}, {}))
    blocks = {
        key: _with_reads(value, inner[key], readable) if key in inner else value for key, value in block.blocks.items()
    }
    computed = {key: _with_reads(Block(), of, readable) for key, of in inner.items() if key not in block.blocks}
    reads = attributes | dict.fromkeys(inner, "block")
    return msgspec.structs.replace(block, blocks=blocks, computed=computed, reads=reads)
