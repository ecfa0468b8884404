"""Logging in with the person's SSH key: the system's `ssh-keygen` signs, so agents and hardware keys work.

    challenge -> login_message(server, nonce) -> ssh-keygen -Y sign -n login@nightingale -f KEY -> session

A passphrase or a touch is asked for by ssh-keygen itself, on the terminal.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nightingale.contract.errors import ErrorCode
from nightingale.contract.schemas import LOGIN_NAMESPACE, SessionIn, SessionOut, login_message
from nightingale_tui.api.client import Api
from nightingale_tui.api.errors import ApiError, ClientError, UnreachableError

_USUAL_FILES = ("id_ed25519", "id_ed25519_sk", "id_ecdsa", "id_ecdsa_sk", "id_rsa")
_MOST_KEYS = 8
"""Every key costs a challenge and perhaps a passphrase: beyond this many, ask for `--key`."""
_SIGN_TIMEOUT_S = 120.0
_AGENT_TIMEOUT_S = 5.0


class LoginError(ClientError):
    """The login could not be made on this side: no key, no ssh-keygen, no signature, a key nobody knows."""


@dataclass(frozen=True)
class Identity:
    """A key to try. `path` is a private key's file, or None where only the agent has it; `public_line` may be empty."""

    path: Path | None
    public_line: str

    @property
    def words(self) -> str:
        """How to speak of it to a person."""
        return str(self.path) if self.path else f"the agent's key {self.public_line.split(' ', 2)[-1]}"


def login(api: Api, *, key_file: Path | None = None, environ: Mapping[str, str] = os.environ) -> SessionOut:
    """Return a new session; see `login_with`."""
    return login_with(api, key_file=key_file, environ=environ)[0]


def login_with(
    api: Api, *, key_file: Path | None = None, environ: Mapping[str, str] = os.environ
) -> tuple[SessionOut, Identity]:
    """Return a new session and the key that opened it. What is signed names the address that is called.

    Without `key_file` the agent's keys and the usual files of ~/.ssh are tried in turn. Raises LoginError, and
    ApiError, UnreachableError, BadAnswerError from the calls.
    """
    if shutil.which("ssh-keygen", path=environ.get("PATH")) is None:
        raise LoginError(
            "ssh_keygen_missing",
            "ssh-keygen is not on this machine; it signs the login.",
            "Install the OpenSSH client (Debian, Ubuntu: `apt install openssh-client`).",
        )
    problems: list[str] = []
    refused: Identity | None = None
    for identity in _identities(key_file, environ):
        try:
            return _login_somewhere(api, identity, environ), identity
        except ApiError as error:
            if error.code != ErrorCode.INVALID_SIGNATURE.code:
                raise
            refused = refused or identity
            problems.append(f"{identity.words}: {error.message}")
        except _SigningError as error:
            problems.append(f"{identity.words}: {error}")
    if refused is not None:
        raise LoginError("key_unknown", f"{api.url} let no key in. {' '.join(problems)}", _give_key(refused))
    if problems:
        raise LoginError(
            "signing_failed",
            f"No key could sign. {' '.join(problems)}",
            "Check the passphrase, the agent (`ssh-add -l`) or name another key with `--key`.",
        )
    raise LoginError(
        "no_key",
        "There is no SSH key to log in with: none in the agent, none of the usual ones in ~/.ssh.",
        "Make one with `ssh-keygen -t ed25519` and give its public line to your administrator for the cluster file, "
        "or name one with `--key`.",
    )


def _give_key(identity: Identity) -> str:
    return (
        "Is this the key your administrator knows? If not, name another with `--key`, or ask them to add this line to "
        f"your keys in the cluster file: {identity.public_line or 'the content of its .pub file'}"
    )


def _identities(key_file: Path | None, environ: Mapping[str, str]) -> list[Identity]:
    if key_file is not None:
        if not key_file.exists():
            raise LoginError("no_key", f"There is no key file {key_file}.", "Name an existing one with `--key`.")
        return [Identity(key_file, _public_line(key_file))]
    folder = Path(environ.get("HOME") or Path.home()) / ".ssh"
    files = [Identity(folder / name, _public_line(folder / name)) for name in _USUAL_FILES if (folder / name).exists()]
    known = {_blob(identity.public_line): identity for identity in files}
    # A key that the agent holds is tried first, it asks nothing; ssh-keygen finds the agent's copy by the file, too.
    agents = [known.get(_blob(line)) or Identity(None, line) for line in _agent_lines(environ)]
    return [*agents, *(identity for identity in files if identity not in agents)][:_MOST_KEYS]


def _public_line(key_file: Path) -> str:
    """Return the public line beside a private key, or of a public key's file; empty when there is none to read."""
    public = key_file if key_file.suffix == ".pub" else key_file.with_name(f"{key_file.name}.pub")
    try:
        return public.read_text("utf-8").strip()
    except (OSError, ValueError):
        return ""


def _blob(public_line: str) -> str:
    return " ".join(public_line.split()[:2])


def _agent_lines(environ: Mapping[str, str]) -> list[str]:
    if not environ.get("SSH_AUTH_SOCK") or shutil.which("ssh-add", path=environ.get("PATH")) is None:
        return []
    try:
        listed = subprocess.run(
            ["ssh-add", "-L"],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_AGENT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []  # an agent that does not answer is no agent; the files remain
    return listed.stdout.splitlines() if listed.returncode == 0 else []


class _SigningError(Exception):
    """This key could not sign; the message says why."""


def _login_somewhere(api: Api, identity: Identity, environ: Mapping[str, str]) -> SessionOut:
    """Log in at the first address that answers to the end: a signature is good at the one that it names, and no other.

    An address that gives a nonce and then no session is left, and the login begins anew at the next.
    """
    for left in reversed(range(api.address_count)):
        try:
            return _login_once(api, identity, environ)
        except (UnreachableError, ApiError) as error:
            is_gone = isinstance(error, UnreachableError) or error.code == ErrorCode.UNAVAILABLE.code
            if not left or not is_gone:
                raise
            api.leave_address()
    raise AssertionError("there is always an address")  # the last one returned or raised


def _login_once(api: Api, identity: Identity, environ: Mapping[str, str]) -> SessionOut:
    challenge = api.create_challenge()
    server = api.url
    signature = _sign(login_message(server, challenge.nonce), identity, environ)
    return api.create_session(SessionIn(nonce=challenge.nonce, server=server, signature=signature))


def _sign(message: bytes, identity: Identity, environ: Mapping[str, str]) -> str:
    if identity.path is not None:
        return _run_ssh_keygen(message, identity.path, environ)
    with tempfile.TemporaryDirectory(prefix="nightingale-") as folder:
        public = Path(folder, "agent.pub")
        public.write_text(f"{identity.public_line}\n", "utf-8")
        return _run_ssh_keygen(message, public, environ)


def _run_ssh_keygen(message: bytes, key_file: Path, environ: Mapping[str, str]) -> str:
    # Where there is a terminal, ssh-keygen talks to the person itself ("confirm user presence ...").
    talks = sys.stderr.isatty()
    try:
        signed = subprocess.run(
            ["ssh-keygen", "-q", "-Y", "sign", "-n", LOGIN_NAMESPACE, "-f", key_file],
            env=dict(environ),
            input=message,
            stdout=subprocess.PIPE,
            stderr=None if talks else subprocess.PIPE,
            timeout=_SIGN_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _SigningError(f"no signature within {_SIGN_TIMEOUT_S:.0f} seconds.") from error
    except OSError as error:
        raise LoginError("signing_failed", f"ssh-keygen cannot be run: {error}.", "Check its installation.") from error
    if signed.returncode != 0:
        words = (signed.stderr or b"").decode("utf-8", "replace").strip().splitlines()
        raise _SigningError(f"{words[-1]}." if words else "ssh-keygen could not sign.")
    return signed.stdout.decode("ascii", "replace")
