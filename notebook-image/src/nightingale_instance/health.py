"""`python -m nightingale_instance.health` tells whether the running Jupyter server answers its owner's programs.

It asks `/api/status` over the server's socket with the server's token, as the platform's programs do. One line of JSON
says how it is; exit status 0: well, 1: not, with the reason. `--wait SECONDS` asks until it is well, or time is over.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence

from nightingale.contract.vocabulary import ReasonCode
from nightingale_instance.settings import InstanceSettings, SettingsError, read_settings, read_token
from nightingale_instance.start_words import Refusal, say
from nightingale_instance.unix_http import UnixConnection

ANSWER_S = 5.0
"""Longest wait for the answer: the server's one thread may be busy with a large file."""

_LOOK_S = 0.05
_MOST_ANSWER = 1 << 16
_RESTART = "Read jupyter.log, then start the instance again: the home folder is untouched."
_RETRY = "Wait a moment; if it stays so, stop the instance and start it again."


def look(settings: InstanceSettings, token: str, answer_s: float = ANSWER_S) -> tuple[str, Refusal | None]:
    """Return how the server is, in words, and None; or why it is not well."""
    connection = UnixConnection(settings.socket, answer_s)
    try:
        connection.request("GET", "/api/status", headers={"Authorization": f"token {token}"})
        answer = connection.getresponse()
        said = answer.read(_MOST_ANSWER)
    except TimeoutError:
        return "", Refusal(ReasonCode.UNREACHABLE, f"The Jupyter server did not answer within {answer_s:g} s.", _RETRY)
    except (FileNotFoundError, ConnectionRefusedError):
        return "", Refusal(ReasonCode.JUPYTER_EXITED, f"Nobody listens at {settings.socket}.", _RESTART)
    except (OSError, http.client.HTTPException) as error:
        return "", Refusal(
            ReasonCode.UNREACHABLE, f"The Jupyter server's answer broke off ({type(error).__name__}).", _RETRY
        )
    finally:
        connection.close()
    if answer.status == http.client.FORBIDDEN:
        return "", Refusal(ReasonCode.UNREACHABLE, "The Jupyter server refused the token of this start.", _RESTART)
    try:
        status = json.loads(said)
        words = f"Jupyter answers: {int(status['kernels'])} kernels, {int(status['connections'])} connections"
    except (ValueError, KeyError, TypeError):
        return "", Refusal(
            ReasonCode.UNREACHABLE, f"What answers ({answer.status}) does not speak as the Jupyter server does.", _RETRY
        )
    return words, None


def wait(settings: InstanceSettings, token: str, within_s: float) -> tuple[str, Refusal | None]:
    """Return what `look` returns once the server is well, or why it was not within that time."""
    began = time.monotonic()
    while True:
        words, refusal = look(settings, token)
        took = time.monotonic() - began
        if refusal is None:
            return f"ready {took:.1f} s after it was asked for; {words}", None
        if took > within_s:
            words = f"The Jupyter server was not ready within {within_s:g} s. {refusal.words}"
            return "", Refusal(ReasonCode.START_TIMEOUT, words, refusal.next_step)
        time.sleep(_LOOK_S)


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Say how the server is; return 0 when it is well, 1 when not."""
    parser = argparse.ArgumentParser(prog="python -m nightingale_instance.health", description="Is Jupyter well?")
    parser.add_argument("--wait", type=float, metavar="SECONDS", help="ask until it is, for so long at most")
    within_s = parser.parse_args(arguments).wait
    try:
        settings = read_settings(environment)
        token = read_token(settings.token_file)
    except (SettingsError, OSError) as error:
        say("", Refusal(ReasonCode.JUPYTER_EXITED, str(error), _RESTART))
        return 1
    words, refusal = look(settings, token) if within_s is None else wait(settings, token, within_s)
    say(words, refusal)
    return 0 if refusal is None else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
