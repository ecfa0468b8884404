"""AWS credentials for a host in another cloud: its own token there opens a role here, for an hour at a time.

    identity of the host ── token ──▶ STS AssumeRoleWithWebIdentity ──▶ keys of a session

No secret is kept anywhere: a token is asked for when a session is to be begun. From 15 minutes before its end the next
request begins another, and 10 minutes before its end requests wait for it. Botocore does that; see its
RefreshableCredentials.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

_SESSION = "nightingale"
_PROVIDER = "web-identity"
_SECONDS = 3600


class WebIdentity:
    """Credentials that renew themselves. Threads and clients share them; nothing is asked before the first request."""

    def __init__(
        self, role_arn: str, token: Callable[[], str], *, region: str | None = None, endpoint: str | None = None
    ) -> None:
        """Take the role and what returns a fresh token; `endpoint` replaces STS's own. `token` may raise OSError."""
        self._role_arn = role_arn
        self._token = token
        self._region = region
        self._endpoint = endpoint
        self._made: Any = None
        self._making = threading.Lock()

    def __repr__(self) -> str:
        """Name the role; never a key."""
        return f"WebIdentity({self._role_arn!r})"

    def give_to(self, session: Any) -> None:
        """Let a botocore session use these credentials and no others. Before it makes its first client."""
        from botocore.credentials import CredentialResolver  # type: ignore[import-untyped] # noqa: PLC0415 - no types; see `LazyClient`

        session.register_component("credential_provider", CredentialResolver(providers=[self]))

    # --- what botocore asks of a provider -----------------------------------------------------------------------------

    METHOD = CANONICAL_NAME = _PROVIDER

    def load(self) -> Any:
        """Return botocore's credentials, the same to every session."""
        with self._making:
            if self._made is None:
                self._made = self._make()
            return self._made

    def _make(self) -> Any:
        import botocore.session  # type: ignore[import-untyped] # noqa: PLC0415 - no types; see `LazyClient`
        from botocore.credentials import (  # noqa: PLC0415 - same
            AssumeRoleWithWebIdentityCredentialFetcher,
            DeferredRefreshableCredentials,
        )

        creator = botocore.session.get_session().create_client
        fetcher = AssumeRoleWithWebIdentityCredentialFetcher(
            client_creator=partial(creator, region_name=self._region, endpoint_url=self._endpoint),
            web_identity_token_loader=self._load_token,
            role_arn=self._role_arn,
            extra_args={"RoleSessionName": _SESSION, "DurationSeconds": _SECONDS},
        )
        return DeferredRefreshableCredentials(fetcher.fetch_credentials, _PROVIDER)

    def _load_token(self) -> str:
        from botocore.exceptions import CredentialRetrievalError  # type: ignore[import-untyped] # noqa: PLC0415 - same

        try:
            return self._token()
        except OSError as error:
            raise CredentialRetrievalError(provider=_PROVIDER, error_msg=str(error)) from error
