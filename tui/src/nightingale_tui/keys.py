"""A person's own keys: `keys.toml` beside the configuration file, each line `"binding.id" = "key"` or `"key,key"`."""

from __future__ import annotations

import tomllib
from pathlib import Path

from nightingale_tui.settings import SettingsError


def load_keys(folder: Path) -> dict[str, str]:
    """Return the keys by binding id, none where there is no file. Raises SettingsError for one that cannot be used."""
    path = folder / "keys.toml"
    try:
        told = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError("bad_keys", f"{path} cannot be read: {error}.", "Mend it or move it away.") from error
    if wrong := [name for name, key in told.items() if not isinstance(key, str)]:
        raise SettingsError("bad_keys", f"{path}: {wrong[0]} must be text.", 'Write it like "instance.stop" = "x".')
    return told
