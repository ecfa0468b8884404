"""The SSH gateway's host key and token, the package index's key pair and token: written by SDK.

So no state, plan or log of Terraform holds them.
"""

from __future__ import annotations

import hashlib
import os
import ssl
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from nightingale.contract.machines import Door
from nightingale_deploy.account import Account
from nightingale_deploy.refusal import DeployError

TOKEN_DAYS = 90
"""Deploying again writes a new one; the gateway takes it within five minutes."""

SERVICES = {"gateway": "gateway", "packages": "index"}
"""What the platform calls the service whose parameters lie in each folder."""

NAMES = ("gateway/token", "gateway/host_key", "gateway/host_key.pub")
INDEX_NAMES = ("packages/token", "packages/pair", "packages/sha256")


class HostKey:
    """The gateway's host key: the one that clients pinned, or a new one that is written once there is a key for it."""

    def __init__(self, account: Account, folder: str) -> None:
        """Look for the one there is. Raises DeployError."""
        self._account = account
        self._folder = folder
        self._private: str | None = None
        found = account.find_parameter(f"{folder}/host_key.pub")
        self.public = found if found is not None else self._make()

    def _make(self) -> str:
        import asyncssh  # noqa: PLC0415 - a second of imports, once in a platform's life

        key = asyncssh.generate_private_key("ssh-ed25519", comment="nightingale-gateway")
        self._private = key.export_private_key("openssh").decode("ascii")
        return " ".join(key.export_public_key("openssh").decode("ascii").split()[:2])

    def keep(self, data_key: str) -> None:
        """Write a new one, private half first: what is found later is whole. Raises DeployError."""
        if self._private is not None:
            self._account.put_parameter(f"{self._folder}/host_key", self._private, data_key)
            self._account.put_parameter(f"{self._folder}/host_key.pub", self.public)
            self._private = None


class IndexPair:
    """The package index's key pair: the one whose certificate machines were told, or a new one."""

    def __init__(self, account: Account, folder: str) -> None:
        """Look for the one there is. Raises DeployError."""
        self._account = account
        self._folder = folder
        self._pair: str | None = None
        found = account.find_parameter(f"{folder}/sha256")
        self.sha256 = found if found is not None else self._make()

    def _make(self) -> str:
        command = [sys.executable, "-m", "nightingale_build.boot.pair", "packages"]
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
        if ended.returncode != 0:
            raise DeployError("the package index's key pair could not be made", "its own words are above")
        pair = msgspec.json.decode(ended.stdout, type=Door)
        self._pair = ended.stdout.decode("ascii")
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pair.certificate)).hexdigest()

    def keep(self, data_key: str) -> None:
        """Write a new one, the secret first: what is found later is whole. Raises DeployError."""
        if self._pair is not None:
            self._account.put_parameter(f"{self._folder}/pair", self._pair, data_key)
            self._account.put_parameter(f"{self._folder}/sha256", self.sha256)
            self._pair = None


def write_token(account: Account, checkout: Path, settings: Mapping[str, str], folder: str, data_key: str) -> None:
    """Make the token of the service whose folder this is and write it there as a secret. Raises DeployError."""
    service = SERVICES[folder.rpartition("/")[2]]
    command = [sys.executable, "-m", "chalicelib.service_token", service, str(TOKEN_DAYS)]
    ended = subprocess.run(
        command,
        cwd=checkout / "backend-lambda",
        env={**os.environ, **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=False,
    )
    if ended.returncode != 0:
        hint = f"the platform stands, but its {service} is not heard: mend it, then type the same again"
        raise DeployError(f"the token of {service} could not be made; the words are above", hint)
    account.put_parameter(f"{folder}/token", ended.stdout.decode("ascii").strip(), data_key)
