"""What the person who deploys has chosen: one JSON file of the module's variables, kept with their other papers."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightingale_deploy.refusal import DeployError

EXAMPLE = {
    "region": "eu-central-1",
    "gateway_cidrs": ["192.0.2.0/24"],
    "alarm_emails": ["you@example.org"],
    "monthly_budget_usd": 500,
}
"""The least that has to be said; infra/control-plane/aws/variables.tf has the rest."""

_OURS = frozenset({"functions_package", "platform_package", "gateway_package", "gateway_host_key", "is_ending"})
_NAME = re.compile(r"[a-z][a-z0-9]{0,15}")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")


@dataclass(frozen=True)
class Choices:
    """Which platform, where, and what Terraform is told of it."""

    name: str
    region: str
    variables: dict[str, Any]

    @staticmethod
    def read(path: Path) -> Choices:
        """Return what the file says. Raises DeployError that says what is wrong with it."""
        example = f"it is JSON such as {json.dumps(EXAMPLE)}"
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise DeployError(f"there is no file {path} that says what to deploy", f"make it; {example}") from error
        except (OSError, ValueError) as error:
            raise DeployError(f"{path} cannot be read: {error}", example) from error
        if not isinstance(told, dict):
            raise DeployError(f"{path} holds no object", example)
        missing = sorted(EXAMPLE.keys() - told.keys())
        if missing:
            raise DeployError(f"{path} does not say {', '.join(missing)}", example)
        if not_theirs := sorted(_OURS & told.keys()):
            raise DeployError(f"{path} says {', '.join(not_theirs)}", "take it out: the deployment knows it by itself")
        name, region = str(told.get("name", "nightingale")), str(told["region"])
        if not _NAME.fullmatch(name) or not _REGION.fullmatch(region):
            words = f"{path} names the platform {name!r} in the region {region!r}, and one of them cannot be"
            raise DeployError(words, "a name has at most 16 of a-z and 0-9, a region is like eu-central-1")
        zones = told.get("zones", [f"{region}a", f"{region}b"])
        return Choices(name, region, {**told, "name": name, "zones": zones})
