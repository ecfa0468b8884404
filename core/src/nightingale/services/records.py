"""Where everything lies in the store: keys, indexes, and the way between domain values and documents.

`docs/reference/data.md` lists the access patterns. Documents are what msgspec makes of the dataclasses: text for times,
money and enums, so that both stores hold the same thing.
"""

from __future__ import annotations

import hashlib
import zlib
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from nightingale.contract.vocabulary import Status
from nightingale.domain.build import Build
from nightingale.domain.finding import Finding
from nightingale.domain.history import HistoryEntry
from nightingale.domain.instance import Instance
from nightingale.domain.machine import MachineStart
from nightingale.ports.store import Item, Key

T = TypeVar("T")

SHARDS = 8
"""Instances are spread over this many shards for probing and metering."""

INDEX1 = "index1"
INDEX2 = "index2"

LIVE = "INSTANCE#"
ENDED = "ENDED#"


def encode(value: Any) -> dict[str, Any]:
    """Return the document of a dataclass or Struct: JSON types only, equal to what a store gives back."""
    document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(value))
    return document


def decode(item: Item, kind: type[T]) -> T:
    """Return the value of an item's document; `kind` is the class that was encoded."""
    return msgspec.convert(item.document, kind, strict=False)


def hashed(secret: str) -> str:
    """Return the SHA-256 (hex) under which a secret of at least 256 random bits is kept."""
    return hashlib.sha256(secret.encode()).hexdigest()


def shard_of(instance_id: str) -> int:
    """Return the shard of an instance, 0 to SHARDS - 1."""
    return zlib.crc32(instance_id.encode()) % SHARDS


# --- instances --------------------------------------------------------------------------------------------------------


def project_partition(project: str) -> str:
    """Return the partition that holds a project's instances and their names."""
    return f"PROJECT#{project}"


def instance_key(project: str, instance_id: str, *, is_ended: bool = False) -> Key:
    """Return the key of an instance; a terminated one lies apart so that lists of live ones stay short."""
    return Key(project_partition(project), (ENDED if is_ended else LIVE) + instance_id)


def name_key(project: str, name: str) -> Key:
    """Return the key of the pointer from a name to the live instance that has it."""
    return Key(project_partition(project), f"NAME#{name}")


def instance_item(instance: Instance, version: int) -> Item:
    """Return the item of an instance with its index keys.

    index1: the shard's live instances, or ended ones whose last hours metering has not closed (it drops the key).
    index2: the shard's live instances by when they changed.
    """
    is_ended = instance.status is Status.TERMINATED
    shard = shard_of(instance.id)
    partition = f"UNMETERED#{shard}" if is_ended else f"SHARD#{shard}"
    indexes = {INDEX1: Key(partition, instance.id)}
    if not is_ended:
        indexes[INDEX2] = Key(changes_partition(shard), f"{changes_from(instance.changed_at)}#{instance.id}")
    return Item(instance_key(instance.project, instance.id, is_ended=is_ended), encode(instance), indexes, version)


def changes_partition(shard: int) -> str:
    """Return the partition of index2 that lists a shard's live instances by when they changed."""
    return f"CHANGED#{shard}"


def changes_from(since: datetime) -> str:
    """Return where, in that list, the changes made at `since` or later begin."""
    return f"{since.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"


def history_partition(instance_id: str) -> str:
    """Return the partition that holds an instance's history, builds and metering mark."""
    return f"INSTANCE#{instance_id}"


def history_item(instance_id: str, entry: HistoryEntry) -> Item:
    """Return the item of a history entry; written once."""
    return Item(Key(history_partition(instance_id), f"HISTORY#{entry.seq:08d}"), encode(entry))


def build_key(instance_id: str, generation: int) -> Key:
    """Return the key of a generation's build."""
    return Key(history_partition(instance_id), f"BUILD#{generation:08d}")


def build_item(build: Build, version: int) -> Item:
    """Return the item of a build."""
    return Item(build_key(build.instance_id, build.generation), encode(build), version=version)


def start_key(instance_id: str) -> Key:
    """Return the key of the latest start of an instance whose machine is reached over a network only."""
    return Key(history_partition(instance_id), "START")


def start_item(start: MachineStart, version: int) -> Item:
    """Return the item of a start."""
    return Item(start_key(start.instance_id), encode(start), version=version)


def server_log_key(instance_id: str) -> Key:
    """Return the key of the end of its Jupyter server's log, where its machine sends that."""
    return Key(history_partition(instance_id), "SERVERLOG")


def log_look_key(instance_id: str) -> Key:
    """Return the key of the note that somebody looks at that log."""
    return Key(history_partition(instance_id), "LOGLOOK")


def code_key(code_hash: str) -> Key:
    """Return the key of a code by which a browser enters."""
    return Key(f"CODE#{code_hash}", "CODE")


def metering_key(instance_id: str) -> Key:
    """Return the key of the mark up to which an instance's hours are closed."""
    return Key(history_partition(instance_id), "METERING")


def last_good_key(shard: int) -> Key:
    """Return the key of a shard's last-good vector."""
    return Key(f"SHARD#{shard}", "LASTGOOD")


# --- people, login, gateway -------------------------------------------------------------------------------------------

PEOPLE = "PEOPLE"
CLUSTER = "CLUSTER"


def person_key(name: str) -> Key:
    """Return the key of a person."""
    return Key(PEOPLE, f"PERSON#{name}")


def ssh_key_key(fingerprint: str) -> Key:
    """Return the key of the pointer from an SSH key to its person."""
    return Key(f"KEY#{fingerprint}", "KEY")


def session_key(token: str) -> Key:
    """Return the key of a session; the token itself is not kept."""
    return Key(f"SESSION#{hashed(token)}", "SESSION")


def verified_key(fingerprint: str) -> Key:
    """Return the key of the last login by this key of a person's that verified its user."""
    return Key(f"VERIFIED#{fingerprint}", "LOGIN")


def nonce_key(nonce: str) -> Key:
    """Return the key of a login nonce."""
    return Key(f"NONCE#{hashed(nonce)}", "NONCE")


def channel_key(channel_id: str) -> Key:
    """Return the key of a gateway channel."""
    return Key(f"CHANNEL#{channel_id}", "CHANNEL")


def cluster_key(kind: str, name: str) -> Key:
    """Return the key of one entry of the cluster, of one of the kinds that `catalog.ENTRY_TYPES` lists.

    A rate's name is `{place}#{effective date}`, an allowed package's `{name}` or `{name}#{projects}`; that of the one
    policy, of the one index and of the one login is POLICY_NAME.
    """
    return Key(CLUSTER, f"{kind}#{name}")


POLICY_NAME = "default"

CLUSTER_META = Key(CLUSTER, "META")
"""Revision and currency of the cluster; written last by every apply."""


# --- usage ------------------------------------------------------------------------------------------------------------


def usage_partition(project: str, month: str) -> str:
    """Return the partition of a project's usage records of a month (`2026-11`)."""
    return f"USAGE#{project}#{month}"


def usage_key(project: str, hour: datetime, instance_id: str, revision: int) -> Key:
    """Return the key of the usage record of one hour of one instance."""
    month = hour.strftime("%Y-%m")
    return Key(usage_partition(project, month), usage_prefix(hour, instance_id) + f"{revision:04d}")


def usage_prefix(hour: datetime, instance_id: str) -> str:
    """Return how the sort keys of all revisions of one hour of one instance begin."""
    return f"{hour:%Y-%m-%dT%H}#{instance_id}#"


# --- findings ---------------------------------------------------------------------------------------------------------

FINDINGS = "FINDINGS"
"""Partition of index1 that lists every finding, and of what there is once for all of them."""
FINDING_WORK = "FINDINGWORK"
"""Partition of the findings whose actions are not all done."""
NOTICES = "NOTICES"
"""Partition of the notices that have not arrived."""

SCAN_KEY = Key(FINDINGS, "SCAN")
BRAKE_KEY = Key(FINDINGS, "BRAKE")


RULE_SETS = "RULESETS"
"""Partition of the sets of rules that the organisation uploaded."""


def rule_set_key(digest: str) -> Key:
    """Return the key of a set of rules."""
    return Key(RULE_SETS, digest)


def rule_parts(digest: str) -> str:
    """Return the partition that holds the parts of a set of rules."""
    return f"RULES#{digest}"


def rule_part_key(digest: str, part: int) -> Key:
    """Return the key of one part."""
    return Key(rule_parts(digest), f"PART#{part:04d}")


def finding_key(finding_id: str) -> Key:
    """Return the key of a finding."""
    return Key(f"FINDING#{finding_id}", "FINDING")


def findings_partition(project: str | None) -> str:
    """Return the partition of index2 that lists a project's findings, or those that name no project."""
    return f"FINDINGS#{project or ''}"


def finding_item(finding: Finding, version: int) -> Item:
    """Return the item of a finding; ids sort by when findings were opened.

    index1 lists all, index2 a project's; one that became part of another is listed nowhere.
    """
    indexes: dict[str, Key] = {}
    if finding.merged_into is None:
        indexes = {
            INDEX1: Key(FINDINGS, finding.id),
            INDEX2: Key(findings_partition(finding.project), finding.id),
        }
    document = encode(finding)
    if finding.value is not None:
        document["value"] = repr(finding.value)  # documents hold no floats: their text differs between stores
    return Item(finding_key(finding.id), document, indexes, version)


def episodes_key(subject: str) -> Key:
    """Return the key of the list of a group's findings, with the time that each spans."""
    return Key(f"SUBJECT#{subject}", "EPISODES")


def finding_work_key(finding_id: str) -> Key:
    """Return the key that stands while something is to be done about a finding."""
    return Key(FINDING_WORK, finding_id)


def notice_key(notice_id: str, channel: str) -> Key:
    """Return the key of one notice to one channel."""
    return Key(NOTICES, f"{notice_id}#{channel}")
