"""What the index proxy asks of the platform and tells it: an instance's rules, and what was served or refused."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from nightingale.contract.packages import MOST_RECORDS, PackageOutcome, PackageRecord, PackageRecordsIn, PackageRulesOut
from nightingale.contract.schemas import ErrorOut
from nightingale.services.package_rules import PackageRules

_LOG = logging.getLogger(__name__)

RULES_SECONDS = 2.0
"""How long rules are kept: a change of the cluster file, and a quarantine, holds so soon."""
MOST_REFUSALS = 50
"""Different refusals of one instance that are told apart between two records; the rest is counted."""
TELL_SECONDS = 1.0
PROOF_SECONDS = 10.0
"""How long it is remembered whose a token is, and that one is nobody's."""
MOST_PROOFS = 4096
_NOBODYS = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_TIME = aiohttp.ClientTimeout(total=10)


class PlatformRefusedError(Exception):
    """The platform says that this instance gets nothing now; says why."""


class PlatformSilentError(Exception):
    """The platform cannot be asked."""


class _Own(msgspec.Struct):
    """Of what the platform says to an instance about itself."""

    id: str
    project: str


@dataclass(frozen=True)
class Told:
    """What the platform said of an instance."""

    rules: PackageRules
    index: str
    file_hosts: frozenset[str]


@dataclass(frozen=True)
class Whose:
    """An instance and its project."""

    project: str
    instance_id: str

    @property
    def path(self) -> str:
        """Where the platform has its rules."""
        return f"/v1/index/{self.project}/{self.instance_id}"


class IndexPlatform:
    """Asks by HTTP with the proxy's own token, which is read anew each time. Belongs to one event loop."""

    def __init__(self, url: str, token_file: Path, session: aiohttp.ClientSession) -> None:
        """Take where the platform is."""
        self._url = url
        self._token_file = token_file
        self._session = session
        self._told: dict[Whose, tuple[float, Told]] = {}
        self._proofs: dict[bytes, tuple[float, Whose | None]] = {}
        self._refusals: dict[Whose, Counter[PackageRecord]] = {}
        self._uncounted: Counter[Whose] = Counter()

    def forget(self, whose: Whose) -> None:
        """Forget the rules of an instance that has ended."""
        self._told.pop(whose, None)

    def forget_all(self) -> None:
        """Forget what was told of everybody: it is asked anew."""
        self._told.clear()
        self._proofs.clear()

    async def whose(self, token: str) -> Whose | None:
        """Return which instance a token is of, None when it is none's. Raises PlatformSilentError."""
        known_as = hashlib.sha256(token.encode()).digest()
        kept = self._proofs.get(known_as)
        now = time.monotonic()
        if kept is not None and now - kept[0] < PROOF_SECONDS:
            return kept[1]
        try:
            own = msgspec.json.decode(await self._ask("GET", "/v1/instance", token=token), type=_Own)
            found: Whose | None = Whose(own.project, own.id)
        except PlatformRefusedError:
            found = None
        self._proofs.pop(known_as, None)
        self._proofs[known_as] = (now, found)
        while len(self._proofs) > MOST_PROOFS:
            del self._proofs[next(iter(self._proofs))]
        return found

    async def rules(self, whose: Whose) -> Told:
        """Return what holds for an instance. Raises PlatformRefusedError, PlatformSilentError."""
        kept = self._told.get(whose)
        if kept is not None and time.monotonic() - kept[0] < RULES_SECONDS:
            return kept[1]
        said = msgspec.json.decode(await self._ask("GET", whose.path), type=PackageRulesOut)
        told = Told(PackageRules.of(said.tier, said.project, said.allow), said.index, frozenset(said.file_hosts))
        self._told[whose] = (time.monotonic(), told)
        return told

    async def record_served(self, whose: Whose, record: PackageRecord) -> None:
        """Keep a fact before what it tells of happens. Raises PlatformRefusedError, PlatformSilentError."""
        await self._record(whose, (record,))

    def note_refused(self, whose: Whose, record: PackageRecord) -> None:
        """Keep a refusal for the next `tell`. Equal ones are one record, and of too many only their number is kept."""
        self._note(whose, record, 1)

    def _note(self, whose: Whose, record: PackageRecord, times: int) -> None:
        refusals = self._refusals.setdefault(whose, Counter())
        if record in refusals or len(refusals) < MOST_REFUSALS:
            refusals[record] += times
        else:
            self._uncounted[whose] += times

    async def tell(self) -> None:
        """Bring the refusals to the platform; what it does not take now is kept for the next time."""
        for whose, refusals in list(self._refusals.items()):
            records = [msgspec.structs.replace(one, times=times) for one, times in refusals.items()]
            if more := self._uncounted[whose]:
                words = "so many more requests were refused in the same moment"
                records.append(PackageRecord(outcome=PackageOutcome.REFUSED, times=more, why=words))
            # Taken away first: what is refused meanwhile belongs to the next time.
            del self._refusals[whose], self._uncounted[whose]
            try:
                await self._record(whose, tuple(records[:MOST_RECORDS]))
            except PlatformRefusedError as error:
                _LOG.warning(
                    "refusals of packages were not taken", extra={"instance": whose.instance_id, "why": str(error)}
                )
            except PlatformSilentError:
                for one, times in refusals.items():
                    self._note(whose, one, times)
                self._uncounted[whose] += more

    async def _record(self, whose: Whose, records: tuple[PackageRecord, ...]) -> None:
        await self._ask("POST", f"{whose.path}/records", PackageRecordsIn(records=records))

    async def _ask(self, method: str, path: str, body: Any = None, token: str = "") -> bytes:
        is_others = bool(token)  # of ours, a refused one is a fault: whoever it is cannot be told then
        try:
            token = token or self._token_file.read_text(encoding="ascii").strip()
            async with self._session.request(
                method,
                f"{self._url}{path}",
                data=None if body is None else msgspec.json.encode(body),
                headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
                allow_redirects=False,
                timeout=_TIME,
            ) as answer:
                content = await answer.read()
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise PlatformSilentError(type(error).__name__) from error
        if status < HTTPStatus.MULTIPLE_CHOICES:
            return content
        if status in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT} or (is_others and status in _NOBODYS):
            words = ""
            with contextlib.suppress(msgspec.DecodeError):
                words = msgspec.json.decode(content, type=ErrorOut).message
            raise PlatformRefusedError(words or f"the platform answered {status}")
        raise PlatformSilentError(f"the platform answered {status}")


async def tell_on(platform: IndexPlatform) -> None:
    """Bring refusals to the platform without end; ends by being cancelled."""
    while True:
        await asyncio.sleep(TELL_SECONDS)
        try:
            await platform.tell()
        except Exception:  # noqa: BLE001 - one batch's fault must not end the records of all others
            _LOG.exception("refusals of packages could not be told: this is a fault of ours")
