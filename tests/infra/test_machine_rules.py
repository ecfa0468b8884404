"""What a person's processes reach from a machine: the rules of its image and real packets, in a network apart."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local_place import needs_root

RULES = Path(__file__).parents[2] / "infra" / "packer" / "files" / "nightingale.nft"
METADATA = "169.254.169.254"  # of AWS and of Azure
WIRE = "168.63.129.16"  # Azure's resolver, and what tells an agent the machine's settings
SCRIPT = """
import encodings.idna, json, os, socket, sys  # the first before the ids: it may lie where only root reads

server = socket.create_server(("0.0.0.0", 80), backlog=64)
said = {}
for uid in (0, 100, 1000, 20_000):
    for address in sys.argv[1:]:
        if (child := os.fork()) == 0:
            os.setuid(uid)
            try:
                socket.create_connection((address, 80), timeout=5).close()
            except OSError:
                os._exit(1)
            os._exit(0)
        said.setdefault(str(uid), {})[address] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print(json.dumps(said))
"""

pytestmark = [
    pytest.mark.slow,
    needs_root,
    pytest.mark.skipif(
        any(shutil.which(tool) is None for tool in ("nft", "ip", "unshare")),
        reason="nft, ip or unshare is not installed",
    ),
]


@pytest.fixture(scope="module")
def reached() -> dict[str, dict[str, bool]]:
    """Return by uid which address was reached, where all of them are there."""
    if subprocess.run(["unshare", "--net", "nft", "list", "tables"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this kernel gives no network of one's own with rules in it")
    ways = f"ip link set lo up; ip address add {METADATA}/32 dev lo; ip address add {WIRE}/32 dev lo"
    command = f'set -e; {ways}; nft --file "$0"; exec "$1" -c "$2" 127.0.0.1 {METADATA} {WIRE}'
    ended = subprocess.run(
        ["unshare", "--net", "sh", "-c", command, str(RULES), sys.executable, SCRIPT],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    told: dict[str, dict[str, bool]] = json.loads(ended.stdout)
    return told


@pytest.mark.parametrize("uid", ["1000", "20000"])
def test_a_persons_processes_reach_no_clouds_metadata_nor_azures_wire_server(
    reached: dict[str, dict[str, bool]], uid: str
) -> None:
    assert reached[uid] == {"127.0.0.1": True, METADATA: False, WIRE: False}


def test_the_machine_itself_reaches_them(reached: dict[str, dict[str, bool]]) -> None:
    assert reached["0"] == {"127.0.0.1": True, METADATA: True, WIRE: True}
    assert reached["100"][WIRE]  # the system's resolver
