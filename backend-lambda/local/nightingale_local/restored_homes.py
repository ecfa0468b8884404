"""Homes that came out of a backup: no Terraform state stands behind them that would remove them with their instance.

`restored.json` lists them. Once the history of one says terminated its home is removed here, as the delete promised.
"""

from __future__ import annotations

import logging
import re
import shutil
from pathlib import Path

import msgspec

from nightingale.contract.vocabulary import Status
from nightingale.domain.history import HistoryEntry
from nightingale.ports.store import Store
from nightingale.services import records
from nightingale_local.folders import Folders, read_json, write_json

_LOG = logging.getLogger(__name__)
_INSTANCE = re.compile(r"i-[a-z0-9]{10}")


class _Restored(msgspec.Struct, frozen=True, kw_only=True):
    instances: tuple[str, ...]


def _list_of(folders: Folders) -> Path:
    return folders.root / "restored.json"


def remember(folders: Folders) -> None:
    """Write down which homes there are; nothing when there is none. Raises OSError."""
    homes = folders.root / "homes"
    found = sorted(path.name for path in homes.iterdir()) if homes.is_dir() else []
    names = tuple(name for name in found if _INSTANCE.fullmatch(name))
    if names:
        write_json(_list_of(folders), _Restored(instances=names))


def sweep(folders: Folders, store: Store) -> None:
    """Remove the restored homes whose instances were terminated. Raises StoreUnavailableError, OSError."""
    restored = read_json(_list_of(folders), _Restored)
    if restored is None:
        return
    left = []
    for instance_id in restored.instances:
        page = store.query(records.history_partition(instance_id), prefix="HISTORY#", limit=1, is_reversed=True)
        is_over = any(records.decode(item, HistoryEntry).after is Status.TERMINATED for item in page.items)
        home = folders.root / "homes" / instance_id
        if is_over and home.is_dir() and not home.is_symlink():
            _LOG.info("the home of a deleted instance is removed", extra={"instance": instance_id})
            shutil.rmtree(home)
        if not is_over:
            left.append(instance_id)
    if len(left) < len(restored.instances):
        write_json(_list_of(folders), _Restored(instances=tuple(left)))
