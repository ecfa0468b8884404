"""One Terraform module: what its files declare together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nightingale_schemas import hcl
from nightingale_schemas.nodes import Attribute, Block, Body, Literal, Mapping


@dataclass(frozen=True)
class Finding:
    """One mistake, where it stands and what it is."""

    path: Path
    line: int
    words: str

    def __str__(self) -> str:
        """Return `path:line: words`, as compilers do."""
        return f"{self.path}:{self.line}: {self.words}"


@dataclass
class Module:
    """A folder's files, read; and the modules that it calls by a relative path."""

    folder: Path
    files: dict[Path, Body]
    variables: dict[str, Block] = field(default_factory=dict)
    values: dict[str, Attribute] = field(default_factory=dict)
    outputs: dict[str, Block] = field(default_factory=dict)
    resources: dict[tuple[str, str], Block] = field(default_factory=dict)
    data_sources: dict[tuple[str, str], Block] = field(default_factory=dict)
    calls: dict[str, Block] = field(default_factory=dict)
    called: dict[str, Module] = field(default_factory=dict)
    amiss: list[Finding] = field(default_factory=list)

    def blocks(self) -> Iterator[tuple[Path, Block]]:
        """Yield every block at the top of a file, with its file."""
        for path, body in self.files.items():
            for block in body.blocks:
                yield path, block

    def required_providers(self) -> dict[str, str]:
        """Return the providers that the module asks for, by name, and the version constraint of each or ''."""
        found: dict[str, str] = {}
        for _, block in self.blocks():
            inner = [one for one in block.body.blocks if one.type == "required_providers"]
            for attribute in (attribute for one in inner for attribute in one.body.attributes.values()):
                found[attribute.name] = _version(attribute)
        return found


def _version(attribute: Attribute) -> str:
    if isinstance(attribute.value, Mapping):
        for key, value in attribute.value.items:
            if isinstance(key, Literal) and key.value == "version" and isinstance(value, Literal):
                return str(value.value)
    return ""


def read_module(folder: Path) -> Module:  # noqa: C901, PLR0912 - one case for each kind of block
    """Return the module of a folder and of those it calls. Raises OSError and hcl.HclError."""
    module = Module(folder, {path: hcl.parse_file(path) for path in sorted(folder.glob("*.tf"))})
    if not module.files:
        raise hcl.HclError(f"there is no Terraform file in {folder}")
    for path, block in module.blocks():
        match block.type, block.labels:
            case "variable", (name,):
                taken = module.variables.setdefault(name, block)
            case "output", (name,):
                taken = module.outputs.setdefault(name, block)
            case "module", (name,):
                taken = module.calls.setdefault(name, block)
            case "resource", (of, name):
                taken = module.resources.setdefault((of, name), block)
            case "data", (of, name):
                taken = module.data_sources.setdefault((of, name), block)
            case "locals", ():
                module.values |= block.body.attributes
                continue
            case _:
                continue
        if taken is not block:
            words = f"{block.type} {'.'.join(block.labels)} is declared twice"
            module.amiss.append(Finding(path, block.line, words))
    for name, block in module.calls.items():
        source = block.body.attributes.get("source")
        if source and isinstance(source.value, Literal) and str(source.value.value).startswith("."):
            below = folder / str(source.value.value)
            if any(below.glob("*.tf")):
                module.called[name] = read_module(below)
            elif not any(below.glob("*.tf.json")):  # these are made by programs, and not looked into
                path = next(path for path, one in module.blocks() if one is block)
                module.amiss.append(Finding(path, source.line, f"module {name}: there is no Terraform file there"))
    return module


def find_modules(root: Path, providers: frozenset[str]) -> list[Path]:
    """Return the folders below `root` whose modules ask for some of these providers and for no other."""
    folders: dict[Path, bool] = {}
    for path in sorted(path for path in root.rglob("*.tf") if ".terraform" not in path.parts):
        text = path.read_text(encoding="utf-8")  # looked at before it is parsed: most modules are of other providers
        is_near = "required_providers" in text and any(provider in text for provider in providers)
        folders[path.parent] = folders.get(path.parent, False) or is_near
    found = []
    for folder in (folder for folder, is_near in folders.items() if is_near):
        asked = {name for name in read_module(folder).required_providers() if name != "terraform"}
        if asked and asked <= providers:
            found.append(folder)
    return found
