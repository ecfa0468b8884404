"""`python -m nightingale_instance.audit SPEC ...` is an instance's observer or drain, `pack FOLDER` makes an image."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from nightingale_instance.audit.processes import main
from nightingale_instance.audit.volume import Volume, VolumeError


def pack(folder: Path) -> int:
    """Pack a dataset's folder of any size; print image, files and bytes as JSON. Return 0, or 1 with words."""
    volume = Volume(folder)
    if not folder.is_dir():
        sys.stderr.write(f"{folder} is no folder.\nName the folder of one version of a dataset.\n")
        return 1
    try:
        files = volume.ensure(most_bytes=sys.maxsize).files
    except VolumeError as error:
        sys.stderr.write(f"{error}\n{error.next_step}\n")
        return 1
    made = {"image": str(volume.image), "files": len(files), "bytes": sum(file.size for file in files)}
    sys.stdout.write(json.dumps(made) + "\n")
    return 0


if __name__ == "__main__":
    words = sys.argv[1:]
    sys.exit(pack(Path(words[1])) if words[:1] == ["pack"] else main(words))
