"""A week of ordinary administration of one AWS account, as CloudTrail would tell it: nobody here does anything wrong.

Seeded: the same seed gives the same events. Twelve people, a pipeline, autoscaling, backups, recorders, applications.
"""

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

ACCOUNT = "210987654321"
REGION = "eu-west-1"
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
TERRAFORM = "APN/1.0 HashiCorp/1.0 Terraform/1.9.8 (+https://www.terraform.io) terraform-provider-aws/5.75.0"
BROWSER = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 Chrome/131.0 Safari/537.36"
CLI = "aws-cli/2.22.7 md/awscrt#0.23.4 ua/2.0 os/linux#6.8 lang/python#3.12.6 md/installer#exe md/command#{}"
BOTO_IN_LAMBDA = "Boto3/1.35.60 md/Botocore#1.35.60 ua/2.0 os/linux exec-env/AWS_Lambda_python3.12"
BOTO_IN_ECS = "Boto3/1.35.60 md/Botocore#1.35.60 ua/2.0 os/linux exec-env/AWS_ECS_FARGATE"
JAVA_ON_EC2 = "aws-sdk-java/2.29.9 ua/2.0 os/Linux#6.1 lang/java#21 md/internal"
_DESCRIBED = (
    "Instances", "Volumes", "Vpcs", "Subnets", "SecurityGroups", "RouteTables", "Images", "Snapshots", "KeyPairs",
    "Addresses", "Regions", "NetworkInterfaces", "NatGateways", "VpcEndpoints", "AvailabilityZones", "InstanceTypes",
    "LaunchTemplates", "Tags",
)  # fmt: skip
READS = [
    *(("ec2", f"Describe{what}") for what in _DESCRIBED),
    *(("iam", f"List{what}") for what in ("Roles", "Policies", "Users", "Groups", "InstanceProfiles")),
    ("iam", "GetAccountSummary"), ("iam", "GetAccountPasswordPolicy"), ("s3", "ListBuckets"),
    ("cloudtrail", "DescribeTrails"), ("cloudtrail", "LookupEvents"), ("guardduty", "ListDetectors"),
    ("rds", "DescribeDBInstances"), ("rds", "DescribeDBSnapshots"), ("lambda", "ListFunctions20150331"),
    ("kms", "ListKeys"), ("kms", "ListAliases"), ("secretsmanager", "ListSecrets"), ("ssm", "DescribeParameters"),
    ("ses", "ListIdentities"), ("ses", "GetSendQuota"), ("monitoring", "DescribeAlarms"),
    ("logs", "DescribeLogGroups"), ("ecr", "DescribeRepositories"), ("ecs", "ListClusters"),
    ("cloudformation", "ListStacks"), ("organizations", "DescribeOrganization"), ("bedrock", "ListFoundationModels"),
]  # fmt: skip


def role(name: str, session: str, **more: Any) -> dict[str, Any]:
    """Return the identity of a session of a role."""
    return {
        "type": "AssumedRole",
        "principalId": f"AROA{name.upper()[:12]}:{session}",
        "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/{session}",
        "accountId": ACCOUNT,
        "accessKeyId": f"ASIA{abs(hash_of(name + session)) % 10**12:012d}",
        "sessionContext": {
            "sessionIssuer": {"type": "Role", "arn": f"arn:aws:iam::{ACCOUNT}:role/{name}", "userName": name},
            "attributes": {"mfaAuthenticated": "false"},
        },
        **more,
    }


def hash_of(text: str) -> int:
    """Return a number for a text, the same in every process."""
    return uuid.uuid5(uuid.NAMESPACE_URL, text).int


def service(name: str, role_name: str) -> dict[str, Any]:
    """Return the identity of an AWS service that acts in the account."""
    return role(role_name, name, invokedBy=f"{name}.amazonaws.com")


_NAMES = ("ana", "ben", "cem", "dia", "eva", "fin", "gil", "hoa", "ida", "jon", "kim", "lou")
PEOPLE = tuple(f"{name}@hospital.example" for name in _NAMES)
PIPELINE = role("deploy", "pipeline")


@dataclass
class Week:
    """Collects the events of a week."""

    seed: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Seed the only source of chance."""
        self.random = random.Random(self.seed)  # noqa: S311 - a simulation, nothing secret

    def add(  # noqa: PLR0917 - a call is read in one line: when, which service, what, who, with what
        self,
        at: datetime,
        source: str,
        name: str,
        who: dict[str, Any],
        agent: str,
        asked: dict[str, Any] | None = None,
        *,
        ip: str = "203.0.113.40",
        **more: Any,
    ) -> None:
        """Add one call."""
        number = len(self.events)
        self.events.append(
            {
                "eventVersion": "1.10",
                "eventID": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.seed}/{number}")),
                "eventTime": f"{at:%Y-%m-%dT%H:%M:%SZ}",
                "eventSource": f"{source}.amazonaws.com",
                "eventName": name,
                "awsRegion": REGION,
                "sourceIPAddress": ip,
                "userAgent": agent,
                "userIdentity": who,
                "requestParameters": asked,
                "responseElements": None,
                "eventType": "AwsApiCall",
                "managementEvent": True,
                "recipientAccountId": ACCOUNT,
                "eventCategory": "Management",
                **more,
            }
        )

    def by_service(  # noqa: PLR0917 - same
        self, at: datetime, name: str, source: str, call: str, asked: dict[str, Any] | None = None, role_name: str = ""
    ) -> None:
        """Add a call that a service makes by itself."""
        host = f"{name}.amazonaws.com"
        self.add(at, source, call, service(name, role_name or f"AWSServiceRoleFor{name}"), host, asked, ip=host)


def ordinary_week(seed: int = 0) -> list[dict[str, Any]]:
    """Return the week's events in order of time."""
    week = Week(seed)
    for day in range(7):
        start = MONDAY + timedelta(days=day)
        _services(week, start)
        _applications(week, start)
        if day < 5:
            for number, person in enumerate(PEOPLE):
                _console(week, start + timedelta(hours=8, minutes=7 * number), person)
            _command_line(week, start)
            _pipeline(week, start)
            _one_offs(week, start, day)
    return sorted(week.events, key=lambda event: (event["eventTime"], event["eventID"]))


def _console(week: Week, at: datetime, person: str) -> None:
    who = role("AWSReservedSSO_Operator_0a1b2c3d4e5f6071", person)
    ip = f"198.51.100.{PEOPLE.index(person) + 10}"
    web: dict[str, Any] = {"sessionCredentialFromConsole": "true"}
    saml = {"type": "SAMLUser", "userName": person, "identityProvider": "idp"}
    week.add(at, "sts", "AssumeRoleWithSAML", saml, BROWSER, {"roleArn": "r"}, ip=ip)
    jersey = "Jersey/${project.version} (HttpUrlConnection 21.0.5)"
    week.add(at, "signin", "GetSigninToken", who, jersey, ip=ip, responseElements={"GetSigninToken": "Success"})
    week.add(
        *(at, "signin", "ConsoleLogin", who, BROWSER),
        ip=ip,
        eventType="AwsConsoleSignIn",
        responseElements={"ConsoleLogin": "Success"},
        additionalEventData={"MFAUsed": "No", "SamlProviderArn": "idp"},
    )
    for step in range(40):
        source, name = week.random.choice(READS)
        error = {"errorCode": "AccessDenied"} if week.random.random() < 0.08 else {}
        week.add(at + timedelta(seconds=20 + 9 * step), source, name, who, BROWSER, {}, ip=ip, **web, **error)
        if step % 10 == 0:
            week.add(at + timedelta(seconds=30 + 9 * step), "health", "DescribeEventAggregates", who, BROWSER, ip=ip)
    for number in range(15):  # the page of buckets asks this of each
        asked = {"bucketName": f"bucket-{number}"}
        for name in ("GetBucketLocation", "GetBucketPublicAccessBlock", "GetBucketPolicyStatus", "GetBucketAcl"):
            week.add(at + timedelta(seconds=500), "s3", name, who, BROWSER, asked, ip=ip, **web)


def _command_line(week: Week, start: datetime) -> None:
    for number, person in enumerate(PEOPLE[:5]):
        who, ip = role("AWSReservedSSO_Engineer_1b2c3d4e5f607182", person), f"198.51.100.{number + 10}"
        at = start + timedelta(hours=10, minutes=11 * number)
        week.add(at, "sts", "GetCallerIdentity", who, CLI.format("sts.get-caller-identity"), ip=ip)
        week.add(at, "s3", "ListBuckets", who, CLI.format("s3.ls"), ip=ip)
        for key in range(week.random.randrange(2, 9)):
            asked = {"bucketName": "reports", "key": f"2026/{key}.csv"}
            week.add(at + timedelta(seconds=key), "s3", "GetObject", who, CLI.format("s3.cp"), asked, ip=ip)
        machine = {"instancesSet": {"items": [{"instanceId": f"i-0aa{number}"}]}}
        for minute, name in ((3, "DescribeInstances"), (4, "StartInstances"), (300, "StopInstances")):
            week.add(at + timedelta(minutes=minute), "ec2", name, who, CLI.format("ec2"), machine, ip=ip)
        for beat in range(60):  # a log is followed for five minutes
            asked = {"logGroupName": "/app/intake"}
            week.add(at + timedelta(minutes=20, seconds=5 * beat), "logs", "FilterLogEvents", who, CLI.format("logs.tail"), asked, ip=ip)  # fmt: skip # noqa: E501 - one call
        if number < 2:
            target = {"target": f"i-0aa{number}"}
            week.add(at + timedelta(minutes=40), "ssm", "StartSession", who, CLI.format("ssm.start-session"), target)
        secret = {"secretId": "staging/db"}
        week.add(at + timedelta(minutes=45), "secretsmanager", "GetSecretValue", who, CLI.format("sm"), secret, ip=ip)


def _pipeline(week: Week, start: datetime) -> None:
    for hour in range(8, 18):  # a plan reads everything it manages
        at = start + timedelta(hours=hour, minutes=13)
        for number, (source, name) in enumerate(READS):
            week.add(at + timedelta(seconds=number % 40), source, name, PIPELINE, TERRAFORM, {}, ip="192.0.2.8")
        for number in range(25):
            asked: dict[str, Any] = {"bucketName": f"bucket-{number}"}
            week.add(at, "s3", "GetBucketPolicy", PIPELINE, TERRAFORM, asked, ip="192.0.2.8")
            asked = {"secretId": f"prod/{number}"}
            week.add(at, "secretsmanager", "GetSecretValue", PIPELINE, TERRAFORM, asked, ip="192.0.2.8")
            asked = {"instanceId": f"i-0aa{number}", "attribute": "userData"}
            week.add(at, "ec2", "DescribeInstanceAttribute", PIPELINE, TERRAFORM, asked, ip="192.0.2.8")
    trust = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}'  # noqa: E501 - as it is sent
    policy = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject"],"Resource":"arn:aws:s3:::reports/*"}]}'  # noqa: E501 - as it is sent
    web: dict[str, Any] = {
        "ipProtocol": "tcp",
        "fromPort": 443,
        "toPort": 443,
        "ipRanges": {"items": [{"cidrIp": "0.0.0.0/0"}]},
    }
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Condition": {"Bool": {"aws:SecureTransport": False}}}
    applied: list[tuple[str, str, dict[str, Any]]] = [
        ("iam", "CreateRole", {"roleName": "worker", "assumeRolePolicyDocument": trust}),
        ("iam", "PutRolePolicy", {"roleName": "worker", "policyName": "p", "policyDocument": policy}),
        ("iam", "CreatePolicyVersion", {"policyArn": "readers", "setAsDefault": True, "policyDocument": policy}),
        ("ec2", "CreateSecurityGroup", {"groupName": "web"}),
        ("ec2", "AuthorizeSecurityGroupIngress", {"groupId": "sg-1", "ipPermissions": {"items": [web]}}),
        ("s3", "PutBucketPolicy", {"bucketName": "reports", "bucketPolicy": {"Statement": [deny]}}),
        (
            "s3",
            "PutBucketPublicAccessBlock",
            {"bucketName": "reports", "PublicAccessBlockConfiguration": {"BlockPublicAcls": True}},
        ),
        ("s3", "PutBucketVersioning", {"bucketName": "reports", "VersioningConfiguration": {"Status": "Enabled"}}),
        ("logs", "DeleteLogGroup", {"logGroupName": "/app/preview-17"}),
        ("monitoring", "DeleteAlarms", {"alarmNames": ["preview-17"]}),
        ("ec2", "RunInstances", {"instanceType": "m7i.large"}),
        ("ec2", "CreateRoute", {"routeTableId": "rtb-1", "destinationCidrBlock": "0.0.0.0/0"}),
        ("rds", "ModifyDBInstance", {"dBInstanceIdentifier": "app", "allocatedStorage": 200}),
        ("events", "PutRule", {"name": "nightly"}),
        ("kms", "CreateKey", {"description": "app"}),
    ]
    for number, (source, name, asked) in enumerate(applied):
        week.add(start + timedelta(hours=14, seconds=3 * number), source, name, PIPELINE, TERRAFORM, asked)
    for deploy in range(4):
        at = start + timedelta(hours=9 + 2 * deploy)
        asked = {"functionName": f"intake-{deploy}"}
        week.add(
            at, "lambda", "UpdateFunctionCode20150331v2", PIPELINE, CLI.format("lambda.update-function-code"), asked
        )
        week.add(at, "lambda", "UpdateAlias20150331", PIPELINE, CLI.format("lambda.update-alias"), asked)
        week.add(at, "ecr", "PutImage", PIPELINE, "docker/27.3.1 go/go1.22", {"repositoryName": "intake"})
        week.add(at, "ecs", "RegisterTaskDefinition", PIPELINE, CLI.format("ecs"), {"family": "intake"})
        week.add(at, "ecs", "UpdateService", PIPELINE, CLI.format("ecs"), {"service": "intake"})
    formed = {
        **role("AWSReservedSSO_Engineer_1b2c3d4e5f607182", PEOPLE[3]),
        "invokedBy": "cloudformation.amazonaws.com",
    }
    for source, name in (("iam", "CreateRole"), ("iam", "AttachRolePolicy"), ("lambda", "CreateFunction20150331")):
        asked = {"roleName": "stack", "policyArn": "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"}
        week.add(start + timedelta(hours=15), source, name, formed, "cloudformation.amazonaws.com", asked)


def _services(week: Week, start: datetime) -> None:
    asked: dict[str, Any]
    for step in range(48):
        at = start + timedelta(minutes=30 * step)
        for machine in range(3):
            week.by_service(at, "autoscaling", "ec2", "RunInstances", {"instanceType": "c7i.large"})
            asked = {"instancesSet": {"items": [{"instanceId": f"i-0bb{machine}"}]}}
            week.by_service(at + timedelta(minutes=12), "autoscaling", "ec2", "TerminateInstances", asked)
        week.by_service(at, "application-autoscaling", "monitoring", "DeleteAlarms", {"alarmNames": ["target"]})
        for source, name in READS:
            week.by_service(at, "config", source, name)
        week.by_service(at, "securityhub", "config", "DescribeConfigRules")
        week.add(at, "sts", "AssumeRole", {"type": "AWSService", "invokedBy": "ecs-tasks.amazonaws.com"}, "ecs-tasks")
        for machine in range(6):
            who = role("web-server", f"i-0cc1234567890ab{machine:02d}")
            agent = "aws-sdk-go/1.55.5 (go1.22.6; linux; amd64) amazon-ssm-agent/3.3.987.0"
            week.add(at, "ssm", "UpdateInstanceInformation", who, agent, {"instanceId": f"{machine}"}, ip="10.0.1.9")
    for snapshot in range(12):
        at = start + timedelta(hours=2, minutes=snapshot)
        week.by_service(at, "backup", "ec2", "CreateSnapshot", {"volumeId": f"vol-{snapshot}"})
        week.by_service(at, "backup", "ec2", "DeleteSnapshot", {"snapshotId": f"snap-{snapshot}"})
        week.by_service(at, "backup", "backup", "DeleteRecoveryPoint", {"backupVaultName": "daily"})
        week.by_service(at, "dlm", "ec2", "DeleteSnapshot", {"snapshotId": f"snap-d{snapshot}"})
    for command in range(4):
        asked = {"documentName": "AWS-RunPatchBaseline", "targets": [{"key": "tag:patch", "values": ["yes"]}]}
        week.by_service(start + timedelta(hours=3, minutes=command), "ssm", "ssm", "SendCommand", asked)
    for secret in range(5):  # rotation
        at, who = start + timedelta(hours=4, minutes=secret), role("rotate-secrets", "rotate-secrets")
        for name in ("DescribeSecret", "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage"):
            asked = {"secretId": f"prod/{secret}"}
            week.add(at, "secretsmanager", name, who, BOTO_IN_LAMBDA, asked, ip="10.0.4.4")


def _applications(week: Week, start: datetime) -> None:
    asked: dict[str, Any]
    for minute in range(0, 1440, 10):
        at = start + timedelta(minutes=minute)
        worker, server = role("intake-task", f"{week.seed:02d}intake"), role("web-server", "i-0cc1234567890ab00")
        for number in range(12):
            key = f"scans/{week.random.randrange(10**9)}.dcm"
            asked = {"bucketName": "scans", "key": key}
            then = at + timedelta(seconds=40 * number)
            week.add(then, "s3", "GetObject", worker, BOTO_IN_ECS, asked, ip="10.0.2.7", eventCategory="Data")
            week.add(then, "s3", "PutObject", worker, BOTO_IN_ECS, asked, ip="10.0.2.7", eventCategory="Data")
            if number % 3 == 0:
                week.add(then, "s3", "DeleteObject", worker, BOTO_IN_ECS, asked, ip="10.0.2.7", eventCategory="Data")
                week.add(then, "kms", "Decrypt", worker, BOTO_IN_ECS, None, ip="10.0.2.7")
                week.add(then, "s3", "GetObject", server, JAVA_ON_EC2, asked, ip="54.1.2.3", eventCategory="Data")
        if minute % 60 == 0:
            for name in ("prod/db", "prod/queue"):
                week.add(at, "secretsmanager", "GetSecretValue", worker, BOTO_IN_ECS, {"secretId": name}, ip="10.0.2.7")
            asked = {"path": "/intake/", "withDecryption": True, "recursive": True}
            week.add(at, "ssm", "GetParametersByPath", worker, BOTO_IN_ECS, asked, ip="10.0.2.7")
            week.add(at, "ec2", "DescribeInstances", server, JAVA_ON_EC2, {}, ip="54.1.2.3")
            week.add(at, "sts", "GetCallerIdentity", server, JAVA_ON_EC2, None, ip="54.1.2.3")
            model = {"modelId": "amazon.titan-embed-text-v2:0"}
            week.add(at, "bedrock", "InvokeModel", worker, BOTO_IN_ECS, model, ip="10.0.2.7")


def _one_offs(week: Week, start: datetime, day: int) -> None:
    """Add what happens once a week, each on its day."""
    who = role("AWSReservedSSO_Operator_0a1b2c3d4e5f6071", PEOPLE[0])
    mira: dict[str, Any] = {
        "type": "IAMUser",
        "arn": f"arn:aws:iam::{ACCOUNT}:user/mira",
        "accountId": ACCOUNT,
        "accessKeyId": "AKIAMIRA",
        "userName": "mira",
    }
    at = start + timedelta(hours=11)
    web: dict[str, Any] = {"sessionCredentialFromConsole": "true"}
    inside = {"ipProtocol": "tcp", "fromPort": 22, "toPort": 22, "ipRanges": {"items": [{"cidrIp": "10.0.0.0/8"}]}}
    if day == 0:
        for failed in (True, False):
            more: dict[str, Any] = {"errorMessage": "Failed authentication"} if failed else {}
            week.add(
                *(at, "signin", "ConsoleLogin", mira, BROWSER),
                eventType="AwsConsoleSignIn",
                responseElements={"ConsoleLogin": "Failure" if failed else "Success"},
                additionalEventData={"MFAUsed": "No" if failed else "Yes"},
                **more,
            )
    elif day == 1:
        asked = {"groupId": "sg-2", "ipPermissions": {"items": [inside]}}
        week.add(at, "ec2", "AuthorizeSecurityGroupIngress", who, BROWSER, asked, **web)
        week.add(at, "iam", "EnableMFADevice", mira, BROWSER, {"userName": "mira"}, **web)
    elif day == 2:
        week.add(at, "iam", "CreateAccessKey", mira, BROWSER, {"userName": "mira"}, **web)
        week.add(at, "iam", "DeleteAccessKey", mira, BROWSER, {"userName": "mira"}, **web)
        week.add(at, "sts", "GetSessionToken", mira, CLI.format("sts"), {"serialNumber": "mfa/mira"})
    elif day == 3:
        week.add(at, "ec2", "CreateSnapshot", who, BROWSER, {"volumeId": "vol-9"}, **web)
        for number in range(3):
            week.add(at, "ec2", "DeleteSnapshot", who, BROWSER, {"snapshotId": f"snap-{number}"}, **web)
        packer = "APN/1.0 HashiCorp/1.0 Packer/1.11.2"
        week.add(at, "ec2", "DeregisterImage", PIPELINE, packer, {"imageId": "ami-1"})
        week.add(
            at, "ec2", "ModifyImageAttribute", PIPELINE, packer, {"imageId": "ami-2", "description": {"value": "x"}}
        )
    else:
        week.add(at, "ec2", "DeleteFlowLogs", PIPELINE, TERRAFORM, {"DeleteFlowLogsRequest": {}})
        week.add(at, "s3", "CreateBucket", who, BROWSER, {"bucketName": "new"}, **web)
        week.add(at, "logs", "PutRetentionPolicy", who, BROWSER, {"logGroupName": "/a", "retentionInDays": 30}, **web)


def lines(events: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield the events as files are delivered: some hundreds in each."""
    for first in range(0, len(events), 500):
        yield events[first : first + 500]
