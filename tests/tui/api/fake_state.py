"""What the fake platform holds and how its instances move."""

from decimal import Decimal
from typing import Any

import msgspec

from nightingale.contract import schemas as s
from nightingale.contract.errors import ErrorCode
from nightingale.contract.reads import ReadRecord
from nightingale.contract.rules import CompiledRule
from nightingale.contract.vocabulary import IN_FLIGHT, Action, LogSource, ReasonCode, Status
from tui.api import fake_world as world


class Refused(Exception):  # noqa: N818 - an answer of the fake, not an error of the test
    """Answer with this error code."""

    def __init__(self, code: ErrorCode, message: str, details: tuple[s.ErrorDetail, ...] = ()) -> None:
        super().__init__(message)
        self.code, self.details = code, details


def a_reason(code: ReasonCode = ReasonCode.JUPYTER_EXITED, action: Action | None = Action.LAUNCH) -> s.ReasonOut:
    """Return why something failed."""
    return s.ReasonOut(
        code=code, words="Jupyter ended with exit code 1.", next_step="Retry it.", action=action, log_tail=("a", "boom")
    )


class FakeState:
    """What the platform holds. `now` stands still unless a test moves it."""

    def __init__(self) -> None:
        self.now = world.START
        self.catalog = world.catalog()
        self.offers: tuple[s.PlaceOfferOut, ...] = ()
        self.best_place = "local"
        self.people = {"ada": ("heart",), "bob": ("heart", "lung")}
        self.admins = {"ada"}
        self.keys: dict[str, str] = {}
        self.tokens: dict[str, str] = {}
        self.nonces: list[str] = []
        self.instances: dict[str, s.InstanceOut] = {}
        self.stubborn = ""
        """Why a machine does not follow its quarantine."""
        self.history: dict[str, list[s.HistoryEntryOut]] = {}
        self.logs: dict[tuple[str, LogSource], list[str]] = {}
        self.gateway = s.GatewayOut(host="127.0.0.1", port=2222, host_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB")
        self.reads: dict[str, list[ReadRecord]] = {}
        """Of each instance id."""
        self.first_bad: int | None = None
        self.changes: tuple[s.ClusterChangeOut, ...] = ()
        self.revision = 1
        self.notes: tuple[str, ...] = ()
        self.cluster: s.ClusterIn | None = None
        self.rule_parts: dict[str, dict[int, tuple[CompiledRule, ...]]] = {}
        """By digest and number of the part."""
        self.overtaking: list[s.ClusterIn] = []
        """Clusters that somebody else applies just before each apply."""
        self.applied: list[s.ClusterIn] = []
        self.records: tuple[s.UsageRecordOut, ...] = ()
        self.moves_on_read = False
        self.fail_next: dict[str, s.ReasonOut] = {}
        self.refusals: dict[str, ErrorCode] = {}
        self.is_down = False
        self.calls: list[tuple[str, tuple[str, ...]]] = []
        self.bodies: list[Any] = []
        self.before_resize: dict[str, Status] = {}

    def token_of(self, person: str) -> str:
        """Return a good token of `person`."""
        token = f"token-of-{person}-{len(self.tokens)}"
        self.tokens[token] = person
        return token

    def add(
        self, name: str, *, owner: str = "ada", project: str = "heart", status: Status = Status.RUNNING, **fields: Any
    ) -> s.InstanceOut:
        """Put an instance in place as it stands; `fields` are InstanceOut's."""
        size = fields.pop("size", s.Size())
        number = len(self.instances)
        instance = s.InstanceOut(
            **{
                "id": f"i-{number:010d}",
                "name": name,
                "project": project,
                "owner": owner,
                "status": status,
                "size": size,
                "place": "local",
                "image": "default",
                "datasets": (),
                "tier": 0,
                "created_at": self.now,
                "status_at": self.now,
                "price_per_hour": self.money(world.compute_price(size) + world.disk_price(size)),
                "cost": self.money(Decimal(0)),
                "usage_seconds": 0,
                "generation": 1,
                "allowed_actions": world.ALLOWED.get(status, ()),
                "running_since": self.now if status is Status.RUNNING else None,
            }
            | fields
        )
        self.instances[instance.id] = instance
        self._record(instance, None, "launch")
        return instance

    def step(self) -> None:
        """Move every instance in flight on by one status."""
        for instance in list(self.instances.values()):
            self.move(instance)

    def settle(self) -> None:
        """Move on until nothing is in flight."""
        while any(instance.status in IN_FLIGHT for instance in self.instances.values()):
            self.step()

    def fail(self, name: str, reason: s.ReasonOut | None = None) -> s.InstanceOut:
        """Let the instance fail now (a crash)."""
        return self.set(self.named(name), Status.FAILED, "crash", reason=reason or a_reason())

    def money(self, amount: Decimal) -> s.Money:
        return s.Money(amount=amount, currency=world.CURRENCY)

    def named(self, name: str, project: str | None = None) -> s.InstanceOut:
        for instance in self.instances.values():
            is_live = instance.status is not Status.TERMINATED
            if project in {None, instance.project} and (instance.id == name or (instance.name == name and is_live)):
                return instance
        raise Refused(ErrorCode.NOT_FOUND, f"There is no instance {name} in {project}.")

    def move(self, instance: s.InstanceOut) -> None:
        if instance.status not in IN_FLIGHT:
            return
        if instance.name in self.fail_next:
            self.set(instance, Status.FAILED, "failed", reason=self.fail_next.pop(instance.name))
            return
        after = world.MOVES.get(instance.status) or self.before_resize.pop(instance.id)
        self.set(instance, after, "moved")

    def set(self, instance: s.InstanceOut, status: Status, event: str, **fields: Any) -> s.InstanceOut:
        after = msgspec.structs.replace(
            instance,
            status=status,
            status_at=self.now,
            allowed_actions=world.ALLOWED.get(status, ()),
            running_since=self.now if status is Status.RUNNING else None,
            **{"reason": None, **fields},
        )
        self.instances[instance.id] = after
        self._record(after, instance.status, event)
        return after

    def _record(self, instance: s.InstanceOut, before: Status | None, event: str) -> None:
        entries = self.history.setdefault(instance.id, [])
        entries.append(
            s.HistoryEntryOut(
                seq=len(entries) + 1,
                at=self.now,
                event=event,
                before=before,
                after=instance.status,
                actor=instance.owner,
                size=instance.size,
                generation=instance.generation,
                reason=instance.reason,
            )
        )


def page_of(rows: list[Any], cursor: str | None, limit: int | None) -> tuple[tuple[Any, ...], str | None]:
    """Return a page of `rows` and the cursor of the next one."""
    start = int(cursor or 0)
    end = start + (limit or 100)
    return tuple(rows[start:end]), str(end) if end < len(rows) else None
