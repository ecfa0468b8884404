"""The long run: `python -m faults --seeds 200 --first 1`. Exits with 1 when a seed found a violation."""

from __future__ import annotations

import argparse
import signal
import sys

from faults.campaign import Campaign, summary


def main() -> int:
    """Play the seeds, say on stderr how each went, print the summary, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="./run faults",
        description="Kill -9 processes of the local platform at random moments, and look at what is left.",
    )
    parser.add_argument("--seeds", type=int, default=200, metavar="N", help="how many runs (default: 200)")
    parser.add_argument("--first", type=int, default=1, metavar="S", help="the first seed (default: 1)")
    parser.add_argument("--jobs", type=int, default=2, metavar="J", help="platforms side by side (default: 2)")
    parser.add_argument("--keep", metavar="DIR", help="where what a violation left is copied to, for reading")
    told = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)  # platforms are ended, also where a shell ignores Ctrl-C
    campaign = Campaign(range(told.first, told.first + told.seeds), jobs=told.jobs, keep=told.keep)
    played = campaign.play()
    sys.stdout.write(summary(played, campaign.slow_to_go) + "\n")
    broken = [run.seed for run in played if run.violations]
    for seed in broken:
        sys.stderr.write(
            f"error: seed {seed} found a violation\nhint: play it again: ./run faults --first {seed} --seeds 1\n"
        )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
