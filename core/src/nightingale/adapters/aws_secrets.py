"""Secrets out of AWS Secrets Manager, under a prefix of the platform's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nightingale.adapters.aws_clients import code_of, is_aws_error
from nightingale.ports.notifier import SecretUnavailableError

PREFIX = "nightingale/notify/"


@dataclass(frozen=True)
class AwsSecrets:
    """Reads a secret anew each time. `client` gives a client of Secrets Manager."""

    client: Callable[[], Any]
    prefix: str = PREFIX

    def get(self, name: str) -> str:
        """Return the secret's text. Raises SecretUnavailableError."""
        try:
            answer = self.client().get_secret_value(SecretId=self.prefix + name)
        except Exception as error:
            if not is_aws_error(error):
                raise
            raise SecretUnavailableError(f"the secret {self.prefix}{name} cannot be read: {code_of(error)}") from error
        secret = str(answer.get("SecretString", "")).strip()
        if not secret or not secret.isprintable():
            raise SecretUnavailableError(f"the secret {self.prefix}{name} is empty or has several lines")
        return secret
