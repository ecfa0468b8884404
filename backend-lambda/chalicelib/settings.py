"""What a deployed function is told by its environment. Names and addresses only: secrets are no settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TABLE = "NIGHTINGALE_TABLE"
AUDIT_BUCKET = "NIGHTINGALE_AUDIT_BUCKET"
BUILDS_BUCKET = "NIGHTINGALE_BUILDS_BUCKET"
CODEBUILD_PROJECT = "NIGHTINGALE_CODEBUILD_PROJECT"
ADDRESSES = "NIGHTINGALE_ADDRESSES"
GATEWAY_HOST = "NIGHTINGALE_GATEWAY_HOST"
GATEWAY_PORT = "NIGHTINGALE_GATEWAY_PORT"
GATEWAY_HOST_KEY = "NIGHTINGALE_GATEWAY_HOST_KEY"
ENDPOINT = "NIGHTINGALE_AWS_ENDPOINT"

_NEEDED = (TABLE, AUDIT_BUCKET, BUILDS_BUCKET, CODEBUILD_PROJECT, ADDRESSES)
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_MOST_PORTS = 65_535


class SettingsError(Exception):
    """The environment does not say what it must; the message names every setting at fault."""


@dataclass(frozen=True)
class GatewaySettings:
    """Where the SSH gateway listens, and the host key that clients pin."""

    host: str
    port: int
    host_key: str


@dataclass(frozen=True)
class Settings:
    """What a function in AWS runs on. `endpoint` replaces AWS's own addresses (for trying it out)."""

    table: str
    audit_bucket: str
    builds_bucket: str
    codebuild_project: str
    addresses: frozenset[str]
    """Under which the API may be called, as clients write it: scheme, host and API Gateway's stage."""
    region: str
    gateway: GatewaySettings | None = None
    endpoint: str | None = None

    @staticmethod
    def read(environment: Mapping[str, str]) -> Settings:
        """Return the settings. Raises SettingsError that names whatever is missing or wrong, all at once."""
        missing = [name for name in _NEEDED if not environment.get(name, "").strip()]
        region = next((environment[name] for name in _REGIONS if environment.get(name)), "")
        if not region:
            missing.append(_REGIONS[0])
        if missing:
            raise SettingsError(f"not set: {', '.join(missing)}")
        addresses = frozenset(one.strip().rstrip("/") for one in environment[ADDRESSES].split(",") if one.strip())
        odd = sorted(one for one in addresses if not one.startswith(("https://", "http://")))
        if odd or not addresses:
            raise SettingsError(f"{ADDRESSES} holds URLs with commas between them, and this is none: {', '.join(odd)}")
        return Settings(
            table=environment[TABLE],
            audit_bucket=environment[AUDIT_BUCKET],
            builds_bucket=environment[BUILDS_BUCKET],
            codebuild_project=environment[CODEBUILD_PROJECT],
            addresses=addresses,
            region=region,
            gateway=_gateway(environment),
            endpoint=environment.get(ENDPOINT) or None,
        )


def _gateway(environment: Mapping[str, str]) -> GatewaySettings | None:
    names = (GATEWAY_HOST, GATEWAY_PORT, GATEWAY_HOST_KEY)
    host, port, host_key = (environment.get(name, "").strip() for name in names)
    if not host and not port and not host_key:
        return None
    if not host or not host_key:
        raise SettingsError(f"a gateway is told whole or not at all: {', '.join(names)}")
    if not port.isdecimal() or not 0 < int(port) <= _MOST_PORTS:
        raise SettingsError(f"{GATEWAY_PORT} is no port: {port[:20]!r}")
    return GatewaySettings(host, int(port), host_key)
