"""What a function app in Azure is told by its settings, beside what every host is told. No secrets among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nightingale.hosting.settings import Settings, SettingsError

ROLE = "NIGHTINGALE_AWS_ROLE"
AUDIENCE = "NIGHTINGALE_AWS_AUDIENCE"
CLIENT_ID = "AZURE_CLIENT_ID"

_NEEDED = (ROLE, AUDIENCE)


@dataclass(frozen=True)
class AzureSettings:
    """The role in AWS, the audience that its trust policy names, and the identity, where the app has several."""

    services: Settings
    role: str
    audience: str
    client_id: str | None = None

    @staticmethod
    def read(environment: Mapping[str, str]) -> AzureSettings:
        """Return the settings. Raises SettingsError that names whatever is missing or wrong, all at once."""
        missing = [name for name in _NEEDED if not environment.get(name, "").strip()]
        services: Settings | None = None
        words = [f"not set: {', '.join(missing)}"] if missing else []
        role = environment.get(ROLE, "").strip()
        if role and not role.startswith("arn:"):
            words.append(f"{ROLE} is no role's ARN: {role[:60]!r}")
        try:
            services = Settings.read(environment)
        except SettingsError as error:
            words.insert(0, str(error))
        if words or services is None:
            raise SettingsError("; ".join(words))
        return AzureSettings(services, role, environment[AUDIENCE].strip(), environment.get(CLIENT_ID) or None)
