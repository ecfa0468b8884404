"""The AWS account that is deployed to: who we are in it, and what Terraform does not make there."""

from __future__ import annotations

import json
from typing import Any

from nightingale_deploy.refusal import DeployError

_SIGN_IN = (
    "sign in as AWS's tools want it: `aws sso login`, or AWS_PROFILE=NAME, or AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY; the account must be one that may make roles"
)
_ABSENT = frozenset({"404", "NoSuchBucket", "NoSuchKey", "NotFound", "ParameterNotFound"})


class Account:
    """One account and region, asked by SDK. Its methods raise DeployError where the SDK raises."""

    def __init__(self, region: str) -> None:
        """Find credentials as AWS's tools do, and ask AWS whose they are."""
        import boto3  # type: ignore[import-untyped]  # noqa: PLC0415 - no types; half a second for `--help`

        self.region = region
        self._session = boto3.session.Session(region_name=region)
        self._clients: dict[str, Any] = {}
        self.number = str(self.ask("who you are in AWS", self.client("sts").get_caller_identity)["Account"])

    def client(self, service: str) -> Any:
        """Return the SDK's client of a service, the same each time."""
        if service not in self._clients:
            self._clients[service] = self._session.client(service)
        return self._clients[service]

    def ask(self, what: str, call: Any, **arguments: Any) -> Any:
        """Return the answer to a call. Raises DeployError that says what could not be learnt or done, and why."""
        found = self.find(what, call, **arguments)
        if found is None:
            raise DeployError(f"{what}: AWS says that it is not there", "look at the settings file, and try again")
        return found

    def find(self, what: str, call: Any, **arguments: Any) -> Any:
        """Return the answer to a call, None where what it asks for is not there. Raises DeployError, as `ask` does."""
        from botocore.exceptions import (  # type: ignore[import-untyped]  # noqa: PLC0415 - see __init__
            BotoCoreError,
            ClientError,
            NoCredentialsError,
            SSOError,
            TokenRetrievalError,
        )

        try:
            return call(**arguments)
        except (NoCredentialsError, SSOError, TokenRetrievalError) as error:
            raise DeployError(f"no AWS credentials were found ({error})", _SIGN_IN) from error
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in _ABSENT:
                return None
            is_about_us = any(word in code for word in ("403", "Denied", "Token", "Unauthorized"))
            raise DeployError(f"{what}: AWS answered {code}", _SIGN_IN if is_about_us else "try again") from error
        except BotoCoreError as error:
            raise DeployError(f"{what}: AWS gave no answer ({error})", "look at the network and the region") from error

    # --- buckets ------------------------------------------------------------------------------------------------------

    def has_bucket(self, name: str) -> bool:
        """Return whether the bucket is there. Another account's of this name is refused, by AWS and so by us."""
        look = self.client("s3").head_bucket
        return self.find(f"the bucket {name}", look, Bucket=name, ExpectedBucketOwner=self.number) is not None

    def make_state_bucket(self, name: str) -> None:
        """Make the bucket that keeps Terraform's state: versioned, encrypted, closed, by TLS only. May be repeated."""
        s3 = self.client("s3")
        where = {} if self.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": self.region}}
        if not self.has_bucket(name):
            self.ask(f"the bucket {name} could not be made", s3.create_bucket, Bucket=name, **where)
        steps: list[tuple[Any, dict[str, Any]]] = [
            (s3.put_bucket_versioning, {"VersioningConfiguration": {"Status": "Enabled"}}),
            (
                s3.put_bucket_encryption,
                {
                    "ServerSideEncryptionConfiguration": {
                        "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]
                    }
                },
            ),
            (
                s3.put_public_access_block,
                {
                    "PublicAccessBlockConfiguration": {
                        "BlockPublicAcls": True,
                        "IgnorePublicAcls": True,
                        "BlockPublicPolicy": True,
                        "RestrictPublicBuckets": True,
                    }
                },
            ),
            (s3.put_bucket_policy, {"Policy": json.dumps(_tls_only(name))}),
        ]
        for call, arguments in steps:
            self.ask(f"the bucket {name} could not be made safe", call, Bucket=name, **arguments)

    def key_of_bucket(self, name: str) -> str:
        """Return the ARN of the key that encrypts a bucket."""
        found = self.ask(f"the bucket {name}", self.client("s3").get_bucket_encryption, Bucket=name)
        rule = found["ServerSideEncryptionConfiguration"]["Rules"][0]
        return str(rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"])

    def keys(self, bucket: str, prefix: str) -> list[str]:
        """Return the keys of a bucket's objects under a prefix."""
        look, found, more = self.client("s3").list_objects_v2, list[str](), dict[str, str]()
        while True:
            page = self.ask(f"what lies in {bucket}", look, Bucket=bucket, Prefix=prefix, **more)
            found += [one["Key"] for one in page.get("Contents", ())]
            if not page.get("IsTruncated"):
                return found
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def find_object(self, bucket: str, key: str) -> bytes | None:
        """Return an object's content, None when it is not there."""
        found = self.find(f"the object {key} of {bucket}", self.client("s3").get_object, Bucket=bucket, Key=key)
        content: bytes | None = None if found is None else found["Body"].read()
        return content

    def living_instances(self, state_bucket: str) -> list[str]:
        """Return the ids of instances of which Terraform's states say that something is there."""
        states = [key.split("/") for key in self.keys(state_bucket, "instances/")]
        every = [path[1] for path in states if path[2:] == ["terraform.tfstate"]]
        return [one for one in every if self._has_resources(state_bucket, f"instances/{one}/terraform.tfstate")]

    def _has_resources(self, bucket: str, key: str) -> bool:
        found = self.find_object(bucket, key)
        return found is not None and bool(json.loads(found).get("resources"))

    # --- disks --------------------------------------------------------------------------------------------------------

    def homes_of(self, platform: str) -> list[str]:
        """Return the ids of the platform's instances that have a disk in this region."""
        ours = {"Name": "tag:nightingale:platform", "Values": [platform]}
        pages = self.client("ec2").get_paginator("describe_volumes").paginate
        volumes = self.ask("disks", lambda: [one for page in pages(Filters=[ours]) for one in page["Volumes"]])
        tags = [{tag["Key"]: tag["Value"] for tag in one.get("Tags", ())} for one in volumes]
        return sorted({one.get("nightingale:instance", "?") for one in tags})

    # --- the gateway's secrets ----------------------------------------------------------------------------------------

    def find_parameter(self, name: str) -> str | None:
        """Return a parameter that is no secret, None when it is not there."""
        found = self.find(f"the parameter {name}", self.client("ssm").get_parameter, Name=name)
        return None if found is None else str(found["Parameter"]["Value"])

    def put_parameter(self, name: str, value: str, key: str | None = None) -> None:
        """Write a parameter, with a key as a secret. The value goes nowhere else."""
        kind = {"Type": "SecureString", "KeyId": key} if key is not None else {"Type": "String"}
        put = self.client("ssm").put_parameter
        self.ask(f"the parameter {name} could not be written", put, Name=name, Value=value, Overwrite=True, **kind)

    def delete_parameters(self, names: list[str]) -> None:
        """Delete parameters; those that are not there are no fault."""
        self.ask("parameters could not be deleted", self.client("ssm").delete_parameters, Names=names)


def _tls_only(bucket: str) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "TlsOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }
