"""Makes the first token of a platform in AWS: `python -m chalicelib.operator_token FILE`, by an administrator.

Reads the same settings as the functions, and AWS credentials where AWS's tools find them. The token applies the first
cluster file; from then on administrators log in with their keys.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

from chalicelib import container
from nightingale.hosting.wired import NotWiredError

LIVES = timedelta(hours=1)


def write_token(path: Path) -> None:
    """Write a token of the operator to a new file of mode 0600. Raises FileExistsError, NotWiredError."""
    token = container.wired().platform.services.login.create_service_session("operator", LIVES)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(token)


def main(arguments: list[str]) -> int:
    """Write the token to the file named on the command line; return the exit status."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m chalicelib.operator_token FILE\n")
        return 2
    try:
        write_token(Path(arguments[0]))
    except NotWiredError as error:
        sys.stderr.write(f"error: {error}\nhint: set them in this shell as on the functions\n")
        return 1
    except FileExistsError:
        sys.stderr.write(f"error: {arguments[0]} is there already\nhint: name a file that is not\n")
        return 1
    sys.stderr.write(f"The operator's token is in {arguments[0]}, for {LIVES}.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
