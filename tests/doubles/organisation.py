"""An organisation's folder of rules, as SigmaHQ lays its own out: a file each, with an author of its own."""

from __future__ import annotations

from pathlib import Path

AUTHOR = "Ward of bioinformatics, Jane Roe"
LOOKED = "5f1f1c0c-3b0f-4a71-9d42-1f0a5a3f7f31"


def rule(ending: str, number: int = 31, *, service: str = "reads", field: str = "path") -> str:
    """Return a rule for a field that ends so."""
    return f"""
title: Our own watch over {ending}
id: 5f1f1c0c-3b0f-4a71-9d42-1f0a5a3f7f{number}
status: experimental
description: Files of this kind are read by the ward's own programs only.
references: [https://example.org/handbook]
author: {AUTHOR}
date: 2026-11-01
tags: [attack.collection, attack.t1530]
logsource: {{product: nightingale, service: {service}}}
detection:
  selection: {{{field}|endswith: '{ending}'}}
  condition: selection
falsepositives: [The ward's own programs]
level: high
"""


REFUSED = rule(".nii", 39).replace("path|endswith: '.nii'", "path|re: '(?=look)ahead'")


def write(folder: Path, **rules: str) -> Path:
    """Write the rules into a folder, each into a file of its name; return the folder."""
    (folder / "ward").mkdir(parents=True, exist_ok=True)
    for name, text in rules.items():
        (folder / "ward" / f"{name}.yml").write_text(text, "utf-8")
    return folder
