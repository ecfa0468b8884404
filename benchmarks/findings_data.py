"""Events to scan, made by SQL from a seed: read events of our own log, and CloudTrail as it is delivered."""

from __future__ import annotations

import duckdb

PEOPLE, FILES = 40, 20_000

READS_COLUMNS = (
    'event_id VARCHAR, "at" TIMESTAMP, person VARCHAR, instance VARCHAR, project VARCHAR, dataset VARCHAR, '
    "path VARCHAR, folder VARCHAR, bytes BIGINT, tier BIGINT, is_honeypot BOOLEAN, program VARCHAR"
)


def make_reads(connection: duckdb.DuckDBPyConnection, events: int) -> None:
    """Fill `nightingale_reads`: two weeks of 40 people in training loops; a few read in bulk, a few touch a decoy.

    The time is that of arrival: in order.
    """
    connection.execute(f"CREATE TABLE nightingale_reads ({READS_COLUMNS})")
    connection.execute(
        """
        INSERT INTO nightingale_reads
        WITH drawn AS (
            SELECT i, CAST(hash(i, 1) % $people AS BIGINT) AS one, CAST(hash(i, 2) % 1000000007 AS BIGINT) AS a,
                CAST(hash(i, 3) % 1000000007 AS BIGINT) AS b,
                TIMESTAMP '2026-11-02' + to_microseconds(i * (14 * 86400000000 // $events)) AS at_time
            FROM range($events) AS r(i)
        ), told AS (
            -- Two people read everything, each for one hour, as much as all others together.
            SELECT *, CASE WHEN is_early THEN 3 WHEN is_late THEN 7 ELSE one END AS who,
                is_early OR is_late AS is_bulk FROM (
                SELECT *, b % 2 = 0 AND i BETWEEN $events // 3 AND $events // 3 + $events // 336 AS is_early,
                    b % 2 = 0 AND i BETWEEN $events // 2 AND $events // 2 + $events // 336 AS is_late FROM drawn)
        )
        SELECT 'r-' || lpad(CAST(i AS VARCHAR), 9, '0'), at_time, 'person' || who, 'i-' || (who * 3 + a % 3),
            'project' || (who % 8), 'set' || (who % 5),
            'images/case' || (n // 10) || '/slice' || n || '.dcm', 'images/case' || (n // 10),
            CASE WHEN is_bulk THEN 4000000 ELSE 4096 + b % 1048576 END, 1 + who % 3, a % 500000 = 7, 'python3'
        FROM (SELECT *, CASE WHEN is_bulk THEN i ELSE (a // 7) % 40 + who * 40 END % $files AS n FROM told)
        """,
        {"people": PEOPLE, "events": events, "files": FILES},
    )


# One event; what stands between angle brackets is SQL.
_TRAIL = """
{"eventVersion":"1.09","userIdentity":{"type":"<kind>","principalId":"AROA<md5(i || 'p')>:session<who>",
"arn":"arn:aws:sts::111122223333:assumed-role/role<who>/session<who>","accountId":"111122223333",
"accessKeyId":"ASIA<md5(i || 'k')>","sessionContext":{"sessionIssuer":{"type":"Role",
"principalId":"AROA<md5(who || 'i')>","arn":"arn:aws:iam::111122223333:role/role<who>",
"accountId":"111122223333","userName":"role<who>"},"attributes":{"creationDate":"2026-11-02T00:00:00Z",
"mfaAuthenticated":"<a % 5 = 0>"}}},"eventTime":"<strftime(at_time, '%Y-%m-%dT%H:%M:%SZ')>",
"eventSource":"<service>.amazonaws.com","eventName":"<name>","awsRegion":"eu-central-1",
"sourceIPAddress":"10.<a % 200>.<b % 200>.7","userAgent":"<agent>","errorCode":<error>,
"requestParameters":{"bucketName":"bucket<b % 50>","Host":"bucket<b % 50>.s3.eu-central-1.amazonaws.com",
"key":"path/<md5(i || 'o')>/object.bin","instancesSet":{"items":[{"instanceId":"i-<a>"}]},
"filter":{"and":[{"prefix":"<md5(i || 'y')>"}]}},"responseElements":<answer>,
"additionalEventData":{"SignatureVersion":"SigV4","CipherSuite":"TLS_AES_128_GCM_SHA256",
"bytesTransferredIn":0,"AuthenticationMethod":"AuthHeader","x-amz-id-2":"<md5(i || 'z')>",
"bytesTransferredOut":<b % 100000>},"requestID":"<md5(i || 'd')>","eventID":"<md5(i || 'e')>",
"readOnly":<a % 2 = 0>,"resources":[{"type":"AWS::S3::Object","ARN":"arn:aws:s3:::bucket<b % 50>/path"},
{"accountId":"111122223333","type":"AWS::S3::Bucket","ARN":"arn:aws:s3:::bucket<b % 50>"}],
"eventType":"AwsApiCall","managementEvent":false,"recipientAccountId":"111122223333","eventCategory":"Data",
"tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256",
"clientProvidedHostHeader":"s3.amazonaws.com"}}
""".replace("\n", "")

_VALUES = """
    SELECT *, CASE WHEN a % 97 = 0 THEN 'Root' WHEN a % 5 = 0 THEN 'IAMUser' ELSE 'AssumedRole' END AS kind,
        ['s3', 'ec2', 'iam', 'sts', 'kms', 'secretsmanager'][1 + (b // 7) % 6] AS service,
        CASE WHEN b % 400 = 0 THEN 'Operation' || (b // 400 % 60) ELSE
            ['GetObject', 'ListBuckets', 'DescribeInstances', 'AssumeRole', 'Decrypt', 'HeadObject'][1 + a % 6]
        END AS name,
        CASE WHEN a % 3 = 0 THEN 'aws-cli/2.15.0 Python/3.11 Linux/6.1' ELSE 'Boto3/1.34.0 ua/2.0' END AS agent,
        CASE WHEN b % 23 = 0 THEN '"AccessDenied"' ELSE 'null' END AS error,
        CASE WHEN a % 4 = 0 THEN '{"x-amz-request-id":"1","credentials":{"expiration":"never"}}' ELSE 'null'
        END AS answer
    FROM drawn
"""


def _as_sql(template: str) -> str:
    """Return the text with what stands between angle brackets as SQL."""
    pieces = [piece.split(">", 1) for piece in template.split("<")]
    made = ["'" + pieces[0][0] + "'"]
    for expression, rest in pieces[1:]:
        made += [f"({expression})", "'" + rest + "'"]
    return " || ".join(made)


def make_trail(connection: duckdb.DuckDBPyConnection, events: int) -> None:
    """Fill `trail` with CloudTrail events: most read or describe something, some that rules look for."""
    connection.execute(
        'CREATE TABLE trail (event_id VARCHAR, "at" TIMESTAMP, person VARCHAR, instance VARCHAR, project VARCHAR, '
        "raw VARCHAR)"
    )
    drawn = """
        SELECT i, CAST(hash(i, 1) % 200 AS BIGINT) AS who, CAST(hash(i, 2) % 1000000 AS BIGINT) AS a,
            CAST(hash(i, 3) % 1000000 AS BIGINT) AS b,
            TIMESTAMP '2026-11-02' + to_microseconds(i * (7 * 86400000000 // $events)) AS at_time
        FROM range($events) AS r(i)
    """
    row = f"md5(i || 'e'), at_time, 'role' || who, NULL, NULL, {_as_sql(_TRAIL)}"
    connection.execute(
        f"INSERT INTO trail WITH drawn AS ({drawn}), told AS ({_VALUES}) SELECT {row} FROM told",  # noqa: S608 - written here
        {"events": events},
    )
