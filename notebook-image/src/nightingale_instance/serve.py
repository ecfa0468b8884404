"""The image's entry point: `python -m nightingale_instance.serve` runs the instance's Jupyter server.

It is on the way from launch to ready, so it starts no second interpreter and imports Jupyter only after what is cheap
has been checked.
"""

from __future__ import annotations

import gc
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from nightingale_instance.forwarding import open_forwarder, package_environment, package_folders
from nightingale_instance.jupyter_config import write_config
from nightingale_instance.settings import InstanceSettings, SettingsError, read_settings, read_token

EXIT_BAD_SETTINGS = 78
"""EX_CONFIG of sysexits.h: the launcher's fault, not Jupyter's."""


def make_private_folder(instance: str) -> Path:
    """Return a fresh 0700 folder for configuration, cookie key and kernel sockets.

    It lies under /tmp, whose path is short enough for sockets, and is new at each start: what a researcher left in the
    home cannot change the server's configuration. Leftovers of a killed server of this instance are removed.
    """
    parent = Path("/tmp")  # noqa: S108 # mkdtemp below makes an unguessable folder of mode 0700 in it
    if not os.access(parent, os.W_OK):
        parent = Path(tempfile.gettempdir())
    prefix = f"nightingale-{instance}-"
    for old in parent.glob(f"{prefix}*"):
        if not old.is_symlink() and old.stat().st_uid == os.geteuid():
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=prefix, dir=parent))


def prepare_home(settings: InstanceSettings) -> None:
    """Link `data` in the home to the datasets, unless something of that name stands there; make folders of packages."""
    link = settings.home / "data"
    if not link.is_symlink() and not link.exists():
        link.symlink_to(settings.data)
    if settings.packages_port is not None:
        # Python remembers that a folder of its path was not there, and would not look into it after the first install.
        for folder in package_folders(settings.home):
            with suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)


def jupyter_environment(settings: InstanceSettings, private: Path) -> Mapping[str, str]:
    """Return the environment that Jupyter and its kernels get on top of what is there. No secret is in it."""
    return {
        "HOME": str(settings.home),
        "USER": settings.person,
        "LOGNAME": settings.person,
        "JUPYTER_CONFIG_DIR": str(private),
        "JUPYTER_RUNTIME_DIR": str(private),
        "JUPYTER_DATA_DIR": str(settings.home / ".local" / "share" / "jupyter"),
        "IPYTHONDIR": str(settings.home / ".ipython"),
        **package_environment(settings.packages_port, settings.home),
    }


def run_server(settings: InstanceSettings, private: Path) -> None:
    """Run the Jupyter server in this process until it is told to stop."""
    config_file = write_config(settings, private)
    gc.disable()  # importing makes objects that stay: looking through them for garbage takes a tenth of the start
    # jsonschema imports this optional package if it is there, and its import compiles a grammar for close to a second,
    # half of the server's start. It checks `iri` formats, which no schema of Jupyter's uses.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type] # None: "not importable", by the import docs
    from nightingale_instance.server import InstanceServer  # noqa: PLC0415 # Jupyter is slow to import; see above

    server = InstanceServer.instance(config_file=str(config_file), config_dir=str(private))
    server.guard(settings)
    with _no_programs_on_path(private):
        server.initialize(argv=[], find_extensions=False)
    server.forwarder = open_forwarder(settings.packages_port, settings.packages_socket)
    gc.freeze()
    gc.enable()
    server.start()


@contextmanager
def _no_programs_on_path(folder: Path) -> Iterator[None]:
    """Hide node from JupyterLab, which on its import runs `node yarn config` for half a second where it finds one.

    The answer is the address of an npm registry, for building extensions, which an instance neither does nor could.
    """
    before = os.environ.get("PATH")
    os.environ["PATH"] = str(folder)  # an empty PATH means the default one
    try:
        yield
    finally:
        if before is None:
            del os.environ["PATH"]
        else:
            os.environ["PATH"] = before


def main(environment: Mapping[str, str] | None = None) -> int:
    """Run the instance's server; return 0 when it was asked to stop, 78 when the environment is wrong."""
    try:
        settings = read_settings(os.environ if environment is None else environment)
        token = read_token(settings.token_file)
        prepare_home(settings)
        private = make_private_folder(settings.instance)
    except (SettingsError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_BAD_SETTINGS
    from nightingale_instance.redaction import RedactingFormatter  # noqa: PLC0415 # tornado, after the checks

    RedactingFormatter.secrets = (token,)
    logging.Formatter.converter = time.gmtime
    os.environ.update(jupyter_environment(settings, private))
    os.chdir(settings.home)
    try:
        run_server(settings, private)
    finally:
        shutil.rmtree(private, ignore_errors=True)
        settings.socket.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
