"""`python -m nightingale_gateway --config FILE`: run the SSH gateway until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from nightingale_gateway.config import ConfigError, GatewayConfig, load_config
from nightingale_gateway.jsonlog import configure


async def _serve(config: GatewayConfig) -> None:
    from nightingale_gateway.gateway import Gateway  # noqa: PLC0415 - a second of imports, after bad files are refused

    await Gateway(config).run()


def main() -> int:
    """Return the exit status: 0 after SIGTERM, 2 when it could not start."""
    parser = argparse.ArgumentParser(prog="nightingale_gateway", description="Nightingale's SSH gateway")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="JSON file of mode 0600")
    arguments = parser.parse_args()
    configure()
    try:
        asyncio.run(_serve(load_config(arguments.config)))
    except (ConfigError, OSError) as error:
        print(f"error: the gateway cannot start: {error}", file=sys.stderr)  # noqa: T201 - words for whoever started it
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
