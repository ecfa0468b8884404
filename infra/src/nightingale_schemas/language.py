"""What Terraform itself brings: blocks and meta-arguments of its language, its one builtin resource, its functions."""

from __future__ import annotations

import subprocess
from pathlib import Path

import msgspec

from nightingale_schemas import types
from nightingale_schemas.schema import FOLDER, Argument, Block
from nightingale_schemas.types import Type

FUNCTIONS = "terraform/functions.json"
BUILTIN = {
    "terraform_data": Block(
        arguments={"input": Argument("any"), "triggers_replace": Argument("any")},
        reads={"id": "string", "input": "any", "output": "any", "triggers_replace": "any"},
    )
}
CONDITION = Block(arguments={"condition": Argument("bool", True), "error_message": Argument("string", True)})  # noqa: FBT003 - is required
LIFECYCLE = Block(
    arguments={"create_before_destroy": Argument("bool"), "prevent_destroy": Argument("bool")}
    | dict.fromkeys(("ignore_changes", "replace_triggered_by"), Argument("any")),
    blocks={"precondition": CONDITION, "postcondition": CONDITION},
)
META = {"count": Argument("number"), "for_each": Argument("any")} | dict.fromkeys(
    ("depends_on", "provider"), Argument("any")
)
PLAIN = {
    "variable": Block(
        arguments={"type": Argument("any"), "default": Argument("any"), "description": Argument("string")}
        | dict.fromkeys(("nullable", "sensitive", "ephemeral"), Argument("bool")),
        blocks={"validation": CONDITION},
    ),
    "output": Block(
        arguments={"value": Argument("any", True), "description": Argument("string"), "depends_on": Argument("any")}  # noqa: FBT003 - is required
        | dict.fromkeys(("sensitive", "ephemeral"), Argument("bool")),
        blocks={"precondition": CONDITION},
    ),
}
UNREAD = frozenset({"terraform", "locals", "moved", "removed", "import"})
REFERENCES = frozenset({"depends_on", "replace_triggered_by"})


def load_functions(folder: Path = FOLDER) -> dict[str, Type]:
    """Return what each of Terraform's functions returns. Raises OSError and msgspec.DecodeError."""
    return {
        name: types.from_json(kind) for name, kind in msgspec.json.decode((folder / FUNCTIONS).read_bytes()).items()
    }


def read_functions(terraform: str = "terraform") -> dict[str, object]:
    """Ask a Terraform program for its functions. Raises OSError and subprocess.CalledProcessError."""
    done = subprocess.run([terraform, "metadata", "functions", "-json"], capture_output=True, check=True)
    signatures = msgspec.json.decode(done.stdout)["function_signatures"]
    return {name: signature["return_type"] for name, signature in sorted(signatures.items())}
