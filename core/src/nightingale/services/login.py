"""Login by SSH signature, sessions, and who a token speaks for."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from nightingale.contract.errors import ErrorCode
from nightingale.contract.schemas import (
    LOGIN_NAMESPACE,
    ChallengeOut,
    Empty,
    MembershipOut,
    MeOut,
    SessionIn,
    SessionOut,
    login_message,
)
from nightingale.contract.vocabulary import AuditTag
from nightingale.domain.access import ADMIN_GRANTS, ROLE_GRANTS, Principal
from nightingale.domain.errors import RefusedError
from nightingale.ports.audit_log import PLATFORM_STREAM, AuditEvent, AuditLog
from nightingale.ports.clock import Clock, Ids
from nightingale.ports.signatures import SignatureError, SignatureVerifier
from nightingale.ports.store import ConditionFailedError, Item, Key, Store
from nightingale.services import records
from nightingale.services.catalog import CatalogService
from nightingale.services.instance_tokens import InstanceTokens
from nightingale.services.multi_factor import VerifiedLogins
from nightingale.services.nonces import spend
from nightingale.services.rate_limit import Bucket, Rate, RateLimiter, source_of

_LOG_IN = "Log in: nightingale login."
_MOST_TOKEN = 512
"""Characters of the longest token that is looked up."""


@dataclass(frozen=True)
class LoginLimits:
    """How long a nonce and a session last, and how often those whom nobody knows yet may ask.

    With these there are at most 3,000 unspent nonces at a time (600 at once, then 20 a second for two minutes), and a
    stranger writes at most ten refusals a minute into the audit log. A whole hospital may stand behind one address.
    """

    nonce: timedelta = timedelta(minutes=2)
    session: timedelta = timedelta(hours=12)
    challenges_of_address: Rate = field(default=Rate(60, timedelta(seconds=1)))
    challenges_of_all: Rate = field(default=Rate(600, timedelta(milliseconds=50)))
    refusals_of_address: Rate = field(default=Rate(20, timedelta(seconds=6)))
    refusals_of_all: Rate = field(default=Rate(200, timedelta(milliseconds=200)))


@dataclass(frozen=True)
class LoginService:
    """Turns a signature into a short-lived bearer token, and a token into a principal."""

    store: Store
    clock: Clock
    ids: Ids
    signatures: SignatureVerifier
    catalog: CatalogService
    audit: AuditLog
    instance_tokens: InstanceTokens
    addresses: frozenset[str]
    """Addresses under which this platform may be called; a signature made for any other is worth nothing here."""
    limits: LoginLimits = LoginLimits()

    def create_challenge(self, client: str = "") -> ChallengeOut:
        """Return a nonce good for one login within two minutes. Raises RefusedError `too_many_requests`."""
        limits = self.limits
        RateLimiter(self.store, self.clock).take(
            "logins were begun", _buckets("challenge", client, limits.challenges_of_address, limits.challenges_of_all)
        )
        nonce = self.ids.secret()
        expires_at = self.clock.now() + self.limits.nonce
        document = {"expires_at": expires_at.isoformat()}
        self.store.put(Item(records.nonce_key(nonce), document, expires_at=expires_at))
        return ChallengeOut(nonce=nonce, namespace=LOGIN_NAMESPACE, expires_at=expires_at)

    def create_session(self, body: SessionIn, client: str) -> SessionOut:
        """Return a token for the person whose key signed the nonce.

        Raises RefusedError `invalid_signature`, `too_many_requests`. A login is counted as refused until it is not, so
        that many at once are counted too.
        """
        limits, limiter = self.limits, RateLimiter(self.store, self.clock)
        buckets = _buckets("refusal", client, limits.refusals_of_address, limits.refusals_of_all)
        limiter.take("logins were refused", buckets)
        fingerprint = ""
        try:
            self._spend(body.nonce)
            if body.server not in self.addresses:
                raise _invalid("the signature was made for another server", "Check the address you log in to.")
            try:
                signed = self.signatures.check(login_message(body.server, body.nonce), body.signature, LOGIN_NAMESPACE)
                fingerprint = signed.fingerprint
            except SignatureError as error:
                raise _invalid(str(error), "Sign again: nightingale login.") from error
            person = self.catalog.person_by_fingerprint(fingerprint)
            if person is None or not person.is_active:
                raise _invalid(
                    f"the key {fingerprint} belongs to no active person here",
                    "Send your public key to the administrator, who adds it to the cluster file.",
                )
        except RefusedError as refusal:
            key = {"fingerprint": fingerprint} if fingerprint else {}
            self._record(AuditTag.LOGIN_REFUSED, "unknown", {"client": client, "why": refusal.message, **key})
            raise
        factors = "multi" if signed.is_user_verified else "one"
        document = {"person": person.name, "fingerprint": fingerprint, "factors": factors}
        token, expires_at = self._new_session(document, self.limits.session)
        limiter.give_back(buckets)
        detail = {"client": client, "fingerprint": fingerprint, "factors": factors}
        self._record(AuditTag.LOGIN_SUCCEEDED, person.name, detail)
        if signed.is_user_verified:
            VerifiedLogins(self.store, self.clock).note(fingerprint, expires_at)
        return SessionOut(token=token, person=person.name, expires_at=expires_at)

    def create_service_session(self, service: str, lifetime: timedelta) -> str:
        """Return a token for `gateway`, `index` or `operator`, for its own host; never given over HTTP."""
        token, _ = self._new_session({"service": service}, lifetime)
        return token

    def authenticate(self, authorization: str | None) -> Principal:
        """Return who the Authorization header speaks for. Raises RefusedError `unauthenticated`, `token_expired`."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise RefusedError(ErrorCode.UNAUTHENTICATED, "this needs a token and the request has none", _LOG_IN)
        token = token.strip()
        if self.instance_tokens.is_one(token):
            return self.instance_tokens.principal(token)
        item = self.store.get(records.session_key(token)) if len(token) <= _MOST_TOKEN else None
        if item is None:
            self._tell_of_decoy(token)
            raise RefusedError(ErrorCode.UNAUTHENTICATED, "the token is not known here", _LOG_IN)
        expires_at = datetime.fromisoformat(item.document["expires_at"])
        if expires_at <= self.clock.now():
            raise RefusedError(ErrorCode.TOKEN_EXPIRED, "the token has expired", _LOG_IN)
        return self._principal(item.document, item.key.partition, expires_at)

    def delete_session(self, principal: Principal) -> Empty:
        """End the session; its token is worth nothing from now on."""
        key = Key(principal.session_id, "SESSION")
        item = self.store.get(key)
        if item is not None:
            with contextlib.suppress(ConditionFailedError):  # logged out twice at once: it is gone
                self.store.delete(key, item.version)
        self._record(AuditTag.LOGOUT, principal.name, {})
        return Empty()

    def me(self, principal: Principal) -> MeOut:
        """Return the person behind the token, with what they may do in each project."""
        person = self.catalog.find_person(principal.name)
        cluster = self.catalog.load()
        memberships = []
        for name, role in principal.roles:
            project = cluster.projects.get(name)
            if project is None:
                continue  # it left the cluster file; the person's own entry follows
            grants = dict(ROLE_GRANTS[role])
            if principal.is_admin:
                grants |= ADMIN_GRANTS
            permissions = tuple(sorted(grants))
            memberships.append(
                MembershipOut(project=name, title=project.title, role=role, plan=project.plan, permissions=permissions)
            )
        return MeOut(
            person=principal.name,
            full_name=person.full_name if person is not None else "",
            is_admin=principal.is_admin,
            memberships=tuple(memberships),
            expires_at=principal.expires_at,
            is_multi_factor=principal.is_multi_factor,
        )

    def _principal(self, document: Mapping[str, str], session_id: str, expires_at: datetime) -> Principal:
        service = document.get("service")
        if service is not None:
            return Principal(
                name=service,
                is_admin=service == "operator",
                is_gateway=service == "gateway",
                is_index=service == "index",
                is_person=False,
                session_id=session_id,
                expires_at=expires_at,
            )
        person = self.catalog.find_person(document["person"])
        if person is None or not person.is_active:
            raise RefusedError(
                ErrorCode.UNAUTHENTICATED, "this person is no longer active", "Ask the administrator of the platform."
            )
        if document.get("fingerprint") not in {key.fingerprint for key in person.keys}:
            # A key that is taken away is taken away for a reason: what was opened with it ends with it.
            raise RefusedError(
                ErrorCode.UNAUTHENTICATED, "the key of this login is no longer one of this person's", _LOG_IN
            )
        return Principal(
            name=person.name,
            is_admin=person.is_admin,
            roles=person.roles,
            session_id=session_id,
            is_multi_factor=document.get("factors") == "multi",
            expires_at=expires_at,
        )

    def _new_session(self, document: dict[str, str], lifetime: timedelta) -> tuple[str, datetime]:
        token = self.ids.secret()
        expires_at = self.clock.now() + lifetime
        full = {**document, "expires_at": expires_at.isoformat()}
        self.store.put(Item(records.session_key(token), full, expires_at=expires_at))
        return token, expires_at

    def _spend(self, nonce: str) -> None:
        """Take the nonce out of the store. Raises RefusedError when it is worth nothing."""
        if (why := spend(self.store, self.clock, nonce)) is not None:
            raise _invalid(why, "Log in again: nightingale login.")

    def _tell_of_decoy(self, token: str) -> None:
        """Record that someone tried a token which lies in a dataset as a decoy; nobody else has a use for it."""
        if len(token) > _MOST_TOKEN:
            return
        key = f"token:{records.hashed(token)}"
        for dataset in self.catalog.load().datasets.values():
            if key in dataset.honeypots.keys:
                self._record(AuditTag.DECOY_USED, "unknown", {"key": key, "dataset": dataset.name, "decoy": "true"})

    def _record(self, tag: AuditTag, actor: str, detail: Mapping[str, str]) -> None:
        self.audit.append(AuditEvent(PLATFORM_STREAM, self.clock.now(), tag.value, actor, actor, detail))


def _buckets(kind: str, client: str, of_address: Rate, of_all: Rate) -> tuple[Bucket, Bucket]:
    source = source_of(client)
    return (
        Bucket(f"{kind}#{source}", of_address, "from this address"),
        Bucket(kind, of_all, "by everybody together"),
    )


def _invalid(message: str, next_step: str) -> RefusedError:
    return RefusedError(ErrorCode.INVALID_SIGNATURE, message, next_step)
