"""The API on AWS Lambda. Registration only: `chalicelib.http` says how a request reaches the core."""

from __future__ import annotations

from chalice import Chalice

from chalicelib.http import register

app = Chalice(app_name="nightingale")
register(app)
