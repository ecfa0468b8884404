"""What `nightingale demo --check --json` says, and the page of the reference about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from nightingale_local.ways_by_gateway import GATEWAY
from nightingale_local.ways_inside import INSIDE
from nightingale_local.ways_out import WAYS

_TIER = 2
_YES = {True: "yes", False: ""}

FIELDS: Mapping[str, str] = {
    "ok": "whether everything held, the clean-up included; the exit status says the same",
    "launch_to_ready_s": "seconds from asking for the first instance until its server answered; of these are",
    "terraform_s": "Terraform's init and apply",
    "jupyter_start_s": "and all the rest",
    "tunnel_status": "HTTP status of the server's `/api/status` through the SSH gateway",
    "cell_output": "what a cell printed that read a CT slice of the dataset: its shape",
    "observer": "`name` of what records reads, null where nothing does, and `words`: how exact it is, or why",
    "reads": "the records of the file that the cell read, whose ranges cover it; null where nothing records",
    "forbidden": "`tried`, `refused`, `recorded`: counts of attempts to take out what may not leave, at tier 2; "
    "null in the `user` profile, where no dataset above tier 0 is mounted",
    "forbidden_by_door": "the same by door, with `recordable`: how many of them must be recorded",
    "forbidden_reason": "where `forbidden` is null: the words with which the platform refused to launch at tier 2",
    "honeypot_to_finding_s": "seconds from reading a decoy at tier 2 until an administrator could see the finding; "
    "null in the `user` profile",
    "quarantined": "whether that instance was then cut off and frozen by itself, its owner's commands refused",
    "crash_detected_s": "seconds from killing a server until its instance was shown as failed",
    "usage_seconds": "compute seconds of the usage records",
    "history_seconds": "the same, counted by hand from the history",
    "cost": "what it cost at list price, as text",
    "currency": "of that",
    "audit_verified": "whether every audit stream's chain holds",
    "left_over_processes": "processes that were still there after the clean-up",
    "host": "what served the API: `chalice` or `functions`",
    "store": "where the items lay: `sqlite` or `dynamodb`",
    "profile": "`root` or `user`, by the account that ran it",
    "steps": "`name`, `seconds` and `ok` of each step, in order",
}
"""The report's fields, in order, and what each means; null where it was not come to."""

_ABOUT = """
In the `root` profile the check launches an instance with `demo-sensitive`, a dataset of tier 2, lays files, links and
copies into its home, and tries to take them out. It holds only if every attempt was refused, and if each one below that
is recorded has a record of who tried what: in the audit stream of the instance, for the gateway in `platform`. The
others end at the kernel (no network, no capability, a mount that is read-only, a folder that is not part of the
picture) or at a page that is not there: nothing of the platform sees them.
"""


def page(head: str, table: Callable[[tuple[str, ...], Iterable[tuple[str, ...]]], str]) -> str:
    """Return the page in Markdown, below a first line, with its tables made by `table(head, rows)`."""
    tried = [(f"`{way.method} {way.target}`", _YES[way.is_recorded(_TIER)]) for way in WAYS if way.is_forbidden(_TIER)]
    tried.append(("a web socket to a terminal", ""))
    columns = ("attempt", "recorded")
    return "\n".join(
        (
            head,
            "# The check\n",
            "`nightingale demo --check` plays the whole job in a folder of its own and cleans up.",
            "`--json` prints one object:\n",
            table(("field", "what it says"), ((f"`{name}`", words) for name, words in FIELDS.items())),
            "## What is tried at tier 2",
            _ABOUT,
            f"By Jupyter's HTTP API ({len(tried)}); [what leaves, by tier](jupyter-by-tier.md) says why:\n",
            table(columns, tried),
            f"By the SSH gateway, with the owner's key ({len(GATEWAY)}):\n",
            table(columns, ((way.what, _YES[True]) for way in GATEWAY)),
            f"By the file system and the network, in a cell ({len(INSIDE)}):\n",
            table(columns, ((way.what, _YES[way.record is not None]) for way in INSIDE)),
        )
    )
