"""The API and the jobs on AWS Lambda. Registration only: `chalicelib.http` says how a request reaches the core."""

from __future__ import annotations

import nightingale.contract.lean_start  # noqa: F401 - before anything that imports

# isort: split

from chalice import Chalice

from chalicelib import http, jobs

app = Chalice(app_name="nightingale", configure_logs=False)
http.register(app)
watch_first, watch_second, close_hours, end_orphans, build_ended = jobs.register(app)
