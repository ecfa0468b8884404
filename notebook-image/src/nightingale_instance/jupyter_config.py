"""The Jupyter server's configuration, as data."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from nightingale_instance.settings import MAX_SOCKET_PATH, InstanceSettings

_LABEXTENSIONS = Path(sys.prefix) / "share" / "jupyter" / "labextensions"
"""What the image brings: the only place from which JupyterLab's extensions are taken."""
_SHELLS = ("/bin/bash", "/bin/sh")

_IPC_NAME_BYTES = len("/kernel-00000000-0000-0000-0000-000000000000.json-ipc-5")
_DISABLED_LAB_PLUGINS = {
    "@jupyterlab/apputils-extension:announcements": True,  # fetches news
    "@jupyterlab/extensionmanager-extension:plugin": True,  # installs from PyPI
    "@jupyterlab/lsp-extension": True,  # there is no language server
    "@jupyterlab/fileeditor-extension:language-server": True,
    "@jupyterlab/notebook-extension:language-server": True,
    "@jupyterlab/help-extension:resources": True,  # opens outside pages
}
_FORBIDDEN_PLUGINS = {
    "@jupyterlab/terminal-extension": True,
    "@jupyterlab/docmanager-extension:download": True,
    "@jupyterlab/filebrowser-extension:download": True,
    "@jupyterlab/notebook-extension:export": True,
}


def kernel_transport(runtime: Path) -> str:
    """Return `ipc` (sockets in the private folder: no port on any network) where their paths fit, else `tcp`."""
    return "ipc" if len(bytes(runtime)) + _IPC_NAME_BYTES <= MAX_SOCKET_PATH else "tcp"


def jupyter_config(settings: InstanceSettings, private: Path) -> dict[str, Any]:
    """Return the configuration of this instance's server. It holds paths and names, no secret."""
    lab_home = settings.home / ".jupyter" / "lab"
    config: dict[str, Any] = {
        "Application": {  # the server and JupyterLab, which logs by itself
            "log_datefmt": "%Y-%m-%dT%H:%M:%S",
            "log_format": "[%(levelname)1.1s %(asctime)s.%(msecs)03dZ %(name)s] %(message)s",  # UTC, see serve.main
            "logging_config": {
                "formatters": {"console": {"class": "nightingale_instance.redaction.RedactingFormatter"}},
            },
        },
        "ServerApp": {
            "sock": str(settings.socket),
            "sock_mode": "0600",
            "root_dir": str(settings.home),
            "default_url": "/lab",
            "open_browser": False,
            "allow_remote_access": False,  # the Host header must be localhost
            "allow_unauthenticated_access": False,  # an endpoint that does not say it is public is not
            "allow_root": os.geteuid() == 0,  # uid 0 of a sandbox's own namespace, or a developer's container
            "identity_provider_class": "nightingale_instance.identity.PersonIdentityProvider",
            "authorizer_class": "nightingale_instance.authorizer.TierAuthorizer",
            "contents_manager_class": "nightingale_instance.contents.InstanceContentsManager",
            "jpserver_extensions": {
                "jupyterlab": True,
                "jupyter_server_terminals": settings.policy.allows_terminals,
            },
            "terminals_enabled": settings.policy.allows_terminals,
            "terminado_settings": {"shell_command": [next(filter(os.path.exists, _SHELLS), _SHELLS[-1]), "-l"]},
            "quit_button": False,
            "cookie_secret_file": str(private / "cookie-secret"),
            "answer_yes": True,  # SIGINT ends it, as SIGTERM does
            "tornado_settings": {
                # The page neither asks for a rebuild of JupyterLab nor offers one.
                "page_config_data": {"buildAvailable": False, "buildCheck": False},
            },
        },
        "PersonIdentityProvider": {
            "person": settings.person,
            "instance": settings.instance,
            "token_file": str(settings.token_file),
            "codes_dir": str(settings.codes),
            "platform_socket": str(settings.platform_socket),
            "instance_token_file": str(settings.instance_token_file or ""),
        },
        "KernelManager": {"transport": kernel_transport(private)},
        "MultiKernelManager": {"default_kernel_name": "python3"},
        "KernelSpecManager": {"ensure_native_kernel": True},
        "ContentsManager": {
            "allow_hidden": False,
            "files_handler_class": (
                "nightingale_instance.downloads."
                + ("RecordedFileHandler" if settings.policy.allows_downloads else "NoDownloadHandler")
            ),
        },
        "InstanceContentsManager": {"home": str(settings.home), "data": str(settings.data)},
        "FileContentsManager": {"delete_to_trash": False},  # a trash would hide medical data in the home
        "LabApp": {
            "extension_manager": "readonly",
            "news_url": None,
            "check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
            "user_settings_dir": str(lab_home / "user-settings"),
            "workspaces_dir": str(lab_home / "workspaces"),
            # Not the home: what lies there would be served to anybody who reaches the socket, without a login, and run
            # in the browser.
            "labextensions_path": [str(_LABEXTENSIONS)],
            "extra_labextensions_path": [],
        },
    }
    if not settings.policy.allows_downloads:
        config["ServerApp"]["kernel_spec_manager_class"] = "nightingale_instance.kernels.ImageKernelSpecManager"
    return config


def write_config(settings: InstanceSettings, private: Path) -> Path:
    """Write the configuration (mode 0600) into `private` and return its path, as Jupyter's `config_file` wants it."""
    path = private / "jupyter_server_config.json"
    _write_private(path, jupyter_config(settings, private))
    labconfig = private / "labconfig"
    labconfig.mkdir(mode=0o700)
    disabled = _DISABLED_LAB_PLUGINS if settings.policy.allows_downloads else _DISABLED_LAB_PLUGINS | _FORBIDDEN_PLUGINS
    _write_private(labconfig / "page_config.json", {"disabledExtensions": disabled})
    return path


def _write_private(path: Path, document: dict[str, Any]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)
