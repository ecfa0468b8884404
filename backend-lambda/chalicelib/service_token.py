"""Makes a service's token on a platform in AWS: `python -m chalicelib.service_token gateway 90 | ...`.

Called by `./run deploy aws`, with the settings of the functions and an administrator's credentials. The token goes to
standard output, for whoever keeps it as a secret; a terminal is refused.
"""

from __future__ import annotations

import argparse
import sys
from datetime import timedelta

from chalicelib import container
from nightingale.hosting.wired import NotWiredError

_MOST_DAYS = 365


def main(arguments: list[str]) -> int:
    """Write the token of the service named, for so many days; return the exit status."""
    parser = argparse.ArgumentParser(prog="service_token", description="Makes a service's token.")
    parser.add_argument("service", choices=["gateway", "index"])
    parser.add_argument("days", type=int)
    told = parser.parse_args(arguments)
    if not 0 < told.days <= _MOST_DAYS:
        sys.stderr.write(f"error: a token lives from 1 to {_MOST_DAYS} days, not {told.days}\nhint: say fewer days\n")
        return 2
    if sys.stdout.isatty():
        sys.stderr.write("error: a token is not shown on a terminal\nhint: pipe it into what keeps it\n")
        return 2
    try:
        login = container.wired().platform.services.login
        token = login.create_service_session(told.service, timedelta(days=told.days))
    except NotWiredError as error:
        sys.stderr.write(f"error: {error}\nhint: set them in this shell as on the functions\n")
        return 1
    sys.stdout.write(token)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
