"""A build inside AWS CodeBuild: `python -m nightingale_build codebuild`, as infra/buildspec.yml runs it.

    BUILDS_BUCKET/builds/<build_id>/spec.json     read; its writer is the platform
                                    result.json   written once, at the end; the first one counts
    STATE_BUCKET/instances/<instance_id>/…        see claim.py
    standard output                               what Terraform prints, a JSON object a line; CloudWatch keeps it

What it needs to know comes by the environment, and is no secret: NIGHTINGALE_BUILD_ID, NIGHTINGALE_BUILDS_BUCKET,
NIGHTINGALE_STATE_BUCKET, NIGHTINGALE_AWS_REGION, and what CodeBuild says of itself. Credentials are the container's.
For the place azure alone: NIGHTINGALE_AZURE_TENANT and NIGHTINGALE_AZURE_CLIENT_ID, see azure_identity.py.
NIGHTINGALE_MODULES may name a folder of Terraform modules, one a place, that are taken instead of those packed here.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import boto3  # type: ignore[import-untyped] # no types

from nightingale_build.azure_identity import AzureIdentity
from nightingale_build.bucket import PATIENCE, Bucket
from nightingale_build.codebuild_surroundings import CodeBuildRuns, CodeBuildSurroundings
from nightingale_build.environment import allowed
from nightingale_build.local_build import write_to
from nightingale_build.log_follower import following, say
from nightingale_build.module_folder import ROOTS
from nightingale_build.runner import BuildRunner, end_on_sigterm
from nightingale_build.surroundings import LeftAloneError

BUILD_ID = re.compile(r"b-[a-z0-9]{10}")

HANDED_ON = (
    "NIGHTINGALE_TERRAFORM",
    "TF_CLI_CONFIG_FILE",
    "TF_PLUGIN_CACHE_DIR",
    "SSL_CERT_FILE",
    "AWS_CA_BUNDLE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_CODEBUILD",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_STS",
)
"""What Terraform gets of the container's environment: where credentials are asked for, and never a key itself."""


def main() -> int:
    """Run the build that the environment names and return the exit status.

    0: it succeeded, or is left alone; 1: it failed; 2: the environment does not say enough.
    """
    told_by = dict(os.environ)
    needed = ("NIGHTINGALE_BUILD_ID", "NIGHTINGALE_BUILDS_BUCKET", "NIGHTINGALE_STATE_BUCKET", "NIGHTINGALE_AWS_REGION")
    missing = [name for name in needed if not told_by.get(name)]
    if missing or not BUILD_ID.fullmatch(told_by["NIGHTINGALE_BUILD_ID"]):
        sys.stderr.write(f"the environment lacks a good {', '.join(missing) or 'NIGHTINGALE_BUILD_ID'}\n")
        return 2
    os.umask(0o077)
    end_on_sigterm()
    region = told_by["NIGHTINGALE_AWS_REGION"]
    environment = {"AWS_REGION": region, **allowed(told_by, extra=HANDED_ON)}
    os.environ.clear()
    os.environ.update(environment)
    session = boto3.session.Session(region_name=region)
    s3 = session.client("s3", config=PATIENCE)
    with tempfile.TemporaryDirectory(prefix="nightingale-build-") as folder:
        around = CodeBuildSurroundings(
            told_by["NIGHTINGALE_BUILD_ID"],
            Path(folder),
            builds=Bucket(s3, told_by["NIGHTINGALE_BUILDS_BUCKET"]),
            states=Bucket(s3, told_by["NIGHTINGALE_STATE_BUCKET"]),
            runs=CodeBuildRuns(session.client("codebuild", config=PATIENCE)),
            azure=AzureIdentity(session.client("sts", config=PATIENCE), Path(folder), told_by),
            region=region,
            environment=told_by,
        )
        cloudwatch = os.dup(1)
        write_to(around.log)
        with following(around.log, cloudwatch):
            return _run(around, (Path(named),) if (named := told_by.get("NIGHTINGALE_MODULES")) else ROOTS)


def _run(around: CodeBuildSurroundings, modules: Sequence[Path]) -> int:
    try:
        result = BuildRunner(around, modules).run()
    except LeftAloneError as error:
        around.let_go()
        say(f"Nothing is done here: {error}.")
        return 0
    if result.is_ok:
        say("The build succeeded.")
    else:
        say(f"The build failed ({result.code}): {result.words} Next: {result.next_step}")
    return 0 if result.is_ok else 1
