"""What a cold function loads, by sys.modules of a fresh interpreter. benchmarks/imports.py holds what it costs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {"aiohttp", "asyncio", "asyncssh", "boto3", "botocore", "cryptography", "pynamodb", "urllib3"}
"""Half a second and more between them; each is for the first request or job that needs it."""

SETTINGS = {
    "NIGHTINGALE_TABLE": "nightingale",
    "NIGHTINGALE_AUDIT_BUCKET": "audit",
    "NIGHTINGALE_BUILDS_BUCKET": "builds",
    "NIGHTINGALE_CODEBUILD_PROJECT": "nightingale",
    "NIGHTINGALE_ADDRESSES": "https://api.example.org/api",
    "AWS_REGION": "eu-central-1",
}

IMPORT = "import app"

ANSWER = """
import app, json
from chalice.test import Client
with Client(app.app) as client:
    answer = client.http.get("/openapi.json")
assert answer.status_code == 200, answer.body
"""

ANSWER_ITSELF = """
import app
from chalicelib import container
from nightingale.app.dispatch import Request
assert container.dispatcher().handle("get_openapi", Request()).status == 200
"""

REFUSE = """
import app
from chalicelib import container
from nightingale.app.dispatch import Request
answer = container.dispatcher().handle("get_me", Request())
assert answer.status == 401, answer
"""


def loaded_after(program: str, environment: dict[str, str]) -> set[str]:
    """Return the top-level packages that a fresh interpreter has loaded after the program."""
    report = "\nimport json, sys\nprint(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", program + report], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_app_loads_no_sdk_and_no_event_loop() -> None:
    loaded = loaded_after(IMPORT, {})
    assert loaded & HEAVY == set()
    assert "chalice" in loaded


def test_importing_the_function_app_loads_no_sdk_and_no_watcher() -> None:
    program = "import function_app, sys\nassert not [n for n in sys.modules if n.startswith('nightingale.services')]"
    loaded = loaded_after(program, {})
    # The library of Functions itself needs an event loop.
    assert loaded & (HEAVY - {"asyncio"}) == set()
    assert "chalice" not in loaded
    assert "azure" in loaded


def test_importing_the_app_leaves_the_services_to_the_first_request() -> None:
    program = f"{IMPORT}\nimport sys\nassert not [n for n in sys.modules if n.startswith('nightingale.services')]"
    assert loaded_after(program, {})


@pytest.mark.parametrize("program", [ANSWER_ITSELF, REFUSE], ids=["openapi", "without a token"])
def test_an_answer_that_needs_no_store_loads_no_sdk(program: str) -> None:
    # The core's watcher is written for an event loop, and comes with the platform.
    assert loaded_after(program, SETTINGS) & (HEAVY - {"asyncio"}) == set()


def test_the_same_answer_comes_through_chalice() -> None:
    # Chalice's test client itself loads botocore, which Lambda's own way in does not.
    assert loaded_after(ANSWER, SETTINGS) & {"pynamodb", "asyncssh", "aiohttp"} == set()


NO_TEXTS = """
import sys
import nightingale.adapters.dynamodb_items
assert "botocore.client" in sys.modules
assert not {"botocore.docs", "botocore.docs.docstring", "html.parser"} & set(sys.modules)
"""

TEXTS_LATER = """
import nightingale.adapters.dynamodb_items
import boto3
keys = {"region_name": "eu-central-1", "aws_access_key_id": "a", "aws_secret_access_key": "s"}
client = boto3.client("s3", **keys)
assert client.generate_presigned_url("list_buckets").startswith("https://s3.")
assert client.get_paginator("list_objects_v2").paginate.__doc__ == ""
assert client.get_waiter("bucket_exists").wait.__doc__ == ""
assert client.list_buckets.__doc__ == ""
resource = boto3.resource("s3", **keys)
assert "s3" in str(resource.Bucket("b").load.__doc__)
import botocore.docs
assert callable(botocore.docs.generate_docs)
"""


def test_the_database_loads_no_writer_of_documentation() -> None:
    assert "pynamodb" in loaded_after(NO_TEXTS, SETTINGS)


def test_botos_own_documentation_is_there_for_who_asks_later() -> None:
    assert "boto3" in loaded_after(TEXTS_LATER, SETTINGS)


PATHS_LATER = """
import nightingale.adapters.dynamodb_items
import sys
assert "jmespath" not in sys.modules and "urllib3.contrib.pyopenssl" not in sys.modules
from botocore import paginate, waiter
assert paginate.jmespath.search("a.b", {"a": {"b": 7}}) == 7
assert waiter.jmespath.compile("a[*].b").search({"a": [{"b": 1}, {"b": 2}]}) == [1, 2]
assert sys.modules["jmespath"].search is paginate.jmespath.search
import boto3
from botocore.stub import Stubber
client = boto3.client("s3", region_name="eu-central-1", aws_access_key_id="a", aws_secret_access_key="s")
with Stubber(client) as stub:
    first = {"IsTruncated": True, "NextContinuationToken": "t", "Contents": [{"Key": "1"}]}
    stub.add_response("list_objects_v2", first)
    stub.add_response("list_objects_v2", {"IsTruncated": False, "Contents": [{"Key": "2"}]})
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="b")
    assert list(pages.search("Contents[].Key")) == ["1", "2"]
"""


def test_paginators_fetch_their_query_language_when_they_need_it() -> None:
    assert "jmespath" in loaded_after(PATHS_LATER, SETTINGS)


VERSIONS_LATER = """
import nightingale.adapters.dynamodb_items
import sys
assert not {"importlib.metadata", "zipfile"} & set(sys.modules)
import urllib3, urllib3.http2
assert urllib3.http2.version("urllib3") == urllib3.__version__
import importlib.metadata
assert importlib.metadata.version("urllib3") == urllib3.__version__
assert importlib.metadata.entry_points()
"""


def test_versions_of_packages_are_looked_up_by_who_asks_for_them() -> None:
    assert "importlib" in loaded_after(VERSIONS_LATER, SETTINGS)


@pytest.mark.parametrize("program", [IMPORT, "import nightingale_tui.cli.main"], ids=["api", "command line"])
def test_msgspec_comes_without_typing_extensions(program: str) -> None:
    loaded = loaded_after(program, {})
    assert "msgspec" in loaded
    assert "typing_extensions" not in loaded
