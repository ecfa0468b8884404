"""The demo: a cluster file, a dataset, two people with keys, and the platform's own door to apply them."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path

from nightingale.contract.schemas import ClusterApplyIn, ClusterApplyOut, ClusterPlanIn
from nightingale_local.control import LocalError, find_image_python
from nightingale_local.demo_material import PEOPLE, DemoMaterialError, demo_cluster, write_datasets
from nightingale_local.folders import Folders, Settings, read_json
from nightingale_tui.api.client import Api
from nightingale_tui.cli.cluster_file import load_cluster_file
from nightingale_tui.cli.console import Console
from nightingale_tui.cli.json_schemas import cluster_schema
from nightingale_tui.cli.own_rules import upload, with_rules
from nightingale_tui.login import login_with
from nightingale_tui.settings import Session, load_settings, save_session
from nightingale_tui.settings import Settings as ClientSettings

PROJECT = "heartscan"
RESEARCHER = "ada"


def operator_api(folders: Folders) -> Api:
    """Return the API with the operator's token of this machine. Raises LocalError when the platform is not up."""
    settings = read_json(folders.settings, Settings)
    try:
        token = (folders.secrets / "operator.token").read_text("ascii")
    except OSError:
        token = ""
    if settings is None or not token:
        raise LocalError(
            "not_up",
            f"No platform has run on {folders.root}.",
            f"Start one: nightingale local up --dir {folders.root} --detach.",
        )
    return Api(settings.url, token)


def apply_demo(folders: Folders, console: Console | None = None) -> ClusterApplyOut:
    """Write the demo's dataset, keys and cluster file where they are not there yet, and apply the cluster file.

    Somebody may have written folders of their own rules into it: these are compiled and uploaded first, as
    `admin apply` does, and what is refused of them is told on `console`. Raises LocalError when no platform has run on
    the folder: then nothing is written; UsageError, ClientError for rules that cannot be read.
    """
    with contextlib.closing(operator_api(folders)) as api:
        path = _write_material(folders)
        cluster, rules = with_rules(load_cluster_file(path).cluster, path.parent, console or Console())
        plan = api.plan_cluster(ClusterPlanIn(cluster=cluster))
        upload(api, rules)
        return api.apply_cluster(ClusterApplyIn(cluster=cluster, base=plan.base))


def _write_material(folders: Folders) -> Path:
    """Return the demo's cluster file, made with what it names where it is not there."""
    try:
        write_datasets(folders.datasets, find_image_python())
        people = {name: public_key(folders, name) for name in PEOPLE}
        text = demo_cluster(folders.datasets, people)
    except DemoMaterialError as error:
        raise LocalError("demo_material", str(error), "Make the image's environment with `./run setup`.") from error
    # For editors: the file's first line names it.
    (folders.demo / "cluster.schema.json").write_text(json.dumps(cluster_schema(), indent=2), "utf-8")
    path = folders.demo / "cluster.yaml"
    if not path.exists():
        path.write_text(text, "utf-8")
    return path


def key_file(folders: Folders, person: str) -> Path:
    """Return where a demo person's private key lies."""
    return folders.demo / "keys" / person


def public_key(folders: Folders, person: str) -> str:
    """Return a demo person's public key line; the key is made when it is not there."""
    path = key_file(folders, person)
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"{person}@demo", "-f", str(path)]
        try:
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
        except (OSError, subprocess.SubprocessError) as error:
            raise LocalError(
                "ssh_keygen_missing",
                f"ssh-keygen could not make the demo's keys: {error}.",
                "Install the OpenSSH client (Debian, Ubuntu: apt install openssh-client).",
            ) from error
    return path.with_name(f"{person}.pub").read_text("ascii").strip()


def client_environment(folders: Folders) -> dict[str, str]:
    """Return the environment under which the client works for the demo's researcher, apart from the person's own."""
    settings = read_json(folders.settings, Settings) or Settings()
    return {
        "NIGHTINGALE_CONFIG_DIR": str(folders.demo / "client"),
        "NIGHTINGALE_URL": settings.url,
        "NIGHTINGALE_PROJECT": PROJECT,
        "NIGHTINGALE_KEY": str(key_file(folders, RESEARCHER)),
    }


def log_in(folders: Folders, environ: dict[str, str]) -> tuple[Api, ClientSettings]:
    """Log the demo's researcher in with their SSH key, as `nightingale login` does; keep the session."""
    settings = load_settings({**environ, **client_environment(folders)})
    with contextlib.closing(Api(settings.url)) as anonymous:
        session, identity = login_with(
            anonymous,
            key_file=settings.key_file,
            environ={**environ, **client_environment(folders)},
        )
    save_session(
        settings,
        Session(
            url=settings.url,
            person=session.person,
            token=session.token,
            expires_at=session.expires_at,
            identity=str(identity.path) if identity.path is not None else None,
        ),
    )
    return Api(settings.url, session.token), settings
