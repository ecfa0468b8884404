"""The SSH gateway's host key and token: written by SDK, so that no state, plan or log of Terraform holds them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from nightingale_deploy.account import Account
from nightingale_deploy.refusal import DeployError

TOKEN_DAYS = 90
"""Deploying again writes a new one; the gateway takes it within five minutes."""

NAMES = ("token", "host_key", "host_key.pub")


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


def write_token(account: Account, checkout: Path, settings: Mapping[str, str], folder: str, data_key: str) -> None:
    """Make the gateway's token on the platform's table and write it as a secret. Raises DeployError."""
    command = [sys.executable, "-m", "chalicelib.service_token", "gateway", str(TOKEN_DAYS)]
    ended = subprocess.run(
        command,
        cwd=checkout / "backend-lambda",
        env={**os.environ, **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=False,
    )
    if ended.returncode != 0:
        hint = "the platform stands, but nobody comes through its gateway: mend it, then type the same again"
        raise DeployError("the gateway's token could not be made; the words are above", hint)
    account.put_parameter(f"{folder}/token", ended.stdout.decode("ascii").strip(), data_key)
