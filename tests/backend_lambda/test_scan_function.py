"""The function that scans, as deployed: its package alone, on what Lambda's runtime brings, against moto's AWS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped] # no types
import msgspec
import pytest

from doubles import aws_server
from doubles.clocks import START, FixedClock
from doubles.clusters import apply_cluster
from doubles.organisation import rule
from doubles.platforms import team_cluster
from nightingale.adapters.dynamodb import DynamoStore
from nightingale.adapters.dynamodb_table import create_table
from nightingale.adapters.s3_audit_log import S3AuditLog
from nightingale.adapters.system_ids import SystemIds
from nightingale.contract.rules import set_digest
from nightingale.contract.schemas import FindingsIn, HoneypotsIn
from nightingale.contract.vocabulary import AuditTag
from nightingale.ports.audit_log import AuditEvent
from nightingale.ports.store import ABSENT
from nightingale.services.rule_shelf import RuleSet, RuleShelf
from nightingale_deploy.packing import pack_scan
from nightingale_findings.sigma import check_rules
from nightingale_findings.sources.own_tables import OWN

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
MOST_UNZIPPED = 75_000_000
RUNTIME = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six.py", "urllib3")
"""What Lambda's Python has beside the standard library."""

REGION = "eu-central-1"
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_REGION": REGION}
DECOY = "patients/staff.csv"
ID = "i-0000000001"

RUN = """
import json, sys
sys.path[:0] = sys.argv[1:]
import scan_function
told = [scan_function.scan({}, None) for _ in range(2)]
print(json.dumps({"told": told, "loaded": sorted({name.partition(".")[0] for name in sys.modules})}))
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the package, unzipped."""
    folder = tmp_path_factory.mktemp("scan-package")
    zipped, unzipped = folder / "scan.zip", folder / "task"
    pack_scan(ROOT, zipped)
    with zipfile.ZipFile(zipped) as archive:
        archive.extractall(unzipped)
    return unzipped


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what the runtime brings and nothing else of ours."""
    folder = tmp_path_factory.mktemp("runtime")
    libraries = Path(sysconfig.get_paths()["purelib"])
    for name in RUNTIME:
        (folder / name).symlink_to(libraries / name)
    return folder


class Account:
    """A table, two buckets and a queue that S3 tells of new objects."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        create_table("nightingale", region=REGION, endpoint=endpoint)
        self.store = DynamoStore("nightingale", region=REGION, endpoint=endpoint)
        s3, sqs = self.client("s3"), self.client("sqs")
        for bucket in ("audit", "builds"):
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        self.queue = sqs.create_queue(QueueName="nightingale-scan")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        told = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}
        s3.put_bucket_notification_configuration(
            Bucket="audit", NotificationConfiguration={"QueueConfigurations": [told]}
        )
        self.log = S3AuditLog("audit", ids=SystemIds(), region=REGION, endpoint=endpoint)

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    def run(self, package: Path, runtime: Path) -> dict[str, Any]:
        """Run the function as a new process of Lambda's, twice; return what it answered and loaded."""
        settings = {
            "NIGHTINGALE_TABLE": "nightingale",
            "NIGHTINGALE_AUDIT_BUCKET": "audit",
            "NIGHTINGALE_BUILDS_BUCKET": "builds",
            "NIGHTINGALE_CODEBUILD_PROJECT": "nightingale",
            "NIGHTINGALE_ADDRESSES": "https://api.example.org/api",
            "NIGHTINGALE_SCAN_QUEUE": self.queue,
            "NIGHTINGALE_AWS_ENDPOINT": self.endpoint,
        }
        environment = {"PATH": os.defpath, "HOME": "/nonexistent", **KEYS, **settings}
        command = [sys.executable, "-I", "-S", "-c", RUN, str(package), str(runtime)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with aws_server.running() as endpoint:
        account = Account(endpoint)
        yield account
        account.store.close()


def test_the_package_is_small_enough_and_has_what_runs_only(package: Path) -> None:
    files = [path for path in package.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MOST_UNZIPPED
    assert not [path for path in files if path.suffix == ".yml" or path.name.endswith(".examples.json")]
    assert {"scan_function.py", "nightingale_findings", "duckdb", "msgspec", "pynamodb"} <= {
        path.name for path in package.iterdir()
    }
    assert not (package / "botocore").exists()


def keep_rules(store: DynamoStore) -> str:
    """Keep a rule of the organisation as an upload does; return its digest."""
    compiled, _ = check_rules({"ward.yml": rule(DECOY)}, OWN, origin="organisation")
    digest = set_digest(compiled.rules)
    shelf = RuleShelf(store, FixedClock())
    shelf.put_part(digest, 1, compiled.rules)
    shelf.note(RuleSet(digest, 1, START, is_whole=True), ABSENT)
    return digest


def test_a_decoy_read_in_the_cloud_is_a_finding_after_the_next_run(
    package: Path, runtime: Path, account: Account
) -> None:
    cluster = team_cluster()
    decoys = [msgspec.structs.replace(one, honeypots=HoneypotsIn(paths=(DECOY,))) for one in cluster.datasets]
    cluster = msgspec.structs.replace(cluster, datasets=tuple(decoys))
    apply_cluster(account.store, cluster)
    launched = {"project": "brain", "tier": "0", "name": "scan"}
    # The function has the machine's own clock, and keeps nothing that is older than any rule looks back.
    now = datetime.now(UTC).replace(microsecond=0)  # noqa: TID251 - see above
    account.log.append(AuditEvent(ID, now, AuditTag.INSTANCE_LAUNCH.value, "grace", ID, launched))
    detail = {"number": "1", "dataset": "ct-demo", "version": "1", "path": DECOY, "size": "9", "bytes": "9"}
    account.log.append(AuditEvent(f"reads-{ID}", now, AuditTag.DATASET_READ.value, "grace", ID, detail))
    first = account.run(package, runtime)
    assert first["told"][0]["opened"] >= 1
    assert first["told"][1] == {"opened": 0, "grown": 0}
    assert "duckdb" in first["loaded"]
    assert not {"sigma", "chalice", "aiohttp", "asyncssh", "cryptography", "textual"} & set(first["loaded"])
    again = account.run(package, runtime)
    assert again["told"] == [{"opened": 0, "grown": 0}] * 2
    findings = FindingsIn(rules=("./sigma",), rules_digest=keep_rules(account.store))
    apply_cluster(account.store, msgspec.structs.replace(cluster, findings=findings))
    own = account.run(package, runtime)
    assert own["told"] == [{"opened": 1, "grown": 0}, {"opened": 0, "grown": 0}]  # of what was read before it came
    assert "sigma" not in own["loaded"]
    left = account.client("sqs").get_queue_attributes(
        QueueUrl=account.queue,
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )["Attributes"]
    assert set(left.values()) == {"0"}
