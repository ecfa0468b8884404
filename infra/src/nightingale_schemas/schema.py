"""What a provider accepts and answers, as far as our modules use it; kept as JSON in `infra/schemas`."""

from __future__ import annotations

from pathlib import Path

import msgspec

FOLDER = Path(__file__).parents[2] / "schemas"
"""Where the extracted schemas lie: one file for each provider."""


class Argument(msgspec.Struct, frozen=True, omit_defaults=True):
    """One argument that a module may set. `type` is as Terraform writes it: `string`, `list(string)` or `any`.

    `members` are there for a list of objects, which older providers also take written as blocks.
    """

    type: str
    is_required: bool = False
    members: Block | None = None


class Block(msgspec.Struct, frozen=True, omit_defaults=True):
    """A resource, a data source, a provider's settings, or a block inside one of these.

    `reads` holds the attributes that a reference may name, with their types; a block that can be read is of type
    `block`, and its own attributes are in `blocks`, or in `computed` where it is the provider's answer only.
    """

    arguments: dict[str, Argument] = {}
    blocks: dict[str, Block] = {}
    reads: dict[str, str] = {}
    computed: dict[str, Block] = {}
    is_required: bool = False
    is_single: bool = False


class ProviderSchema(msgspec.Struct, frozen=True):
    """The extract of one provider: where it comes from, byte for byte, and what our modules use of it."""

    provider: str
    provider_version: str
    package: str
    package_version: str
    package_sha256: str
    settings: Block
    resources: dict[str, Block]
    data_sources: dict[str, Block]


def load(provider: str, folder: Path = FOLDER) -> ProviderSchema:
    """Return the kept schema of `provider`. Raises OSError, or msgspec.DecodeError for a file that is none."""
    return msgspec.json.decode((folder / f"{provider}.json").read_bytes(), type=ProviderSchema)


def load_all(folder: Path = FOLDER) -> list[ProviderSchema]:
    """Return every kept schema, by name. Raises like `load`."""
    return [load(path.stem, folder) for path in sorted(folder.glob("*.json"))]


def save(schema: ProviderSchema, folder: Path = FOLDER) -> Path:
    """Write the schema in one order and one shape, so that a refresh without change changes no byte; return its path.

    Raises OSError.
    """
    path = folder / f"{schema.provider}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(schema, order="sorted"), indent=1) + b"\n")
    return path
