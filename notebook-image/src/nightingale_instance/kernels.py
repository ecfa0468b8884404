"""Which kernels there are where nothing may be taken out."""

from __future__ import annotations

import sys
from pathlib import Path

from jupyter_client.kernelspec import KernelSpecManager  # type: ignore[import-not-found] # not in mypy's environment, with a folder of that name
from traitlets import default


class ImageKernelSpecManager(KernelSpecManager):  # type: ignore[misc] # as above
    """Only the image's kernels: what lies beside a kernel's description is served file by file, and its text listed."""

    @default("kernel_dirs")  # type: ignore[untyped-decorator] # traitlets: as above
    def _kernel_dirs_default(self) -> list[str]:
        """Return the image's folder of kernels, and none that a researcher can write into."""
        return [str(Path(sys.prefix) / "share" / "jupyter" / "kernels")]
