"""The API and the jobs on Azure Functions. Registration only: `azurelib.http` says how a request reaches the core."""

from __future__ import annotations

import nightingale.contract.lean_start  # noqa: F401 - before anything that imports

# isort: split

import azure.functions as func

from azurelib import http, jobs

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)  # dispatch authenticates, the same on every host
http.register(app)
jobs.register(app)
