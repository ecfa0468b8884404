"""Error codes of the API. Every refusal is one of these, with words and a next step."""

from __future__ import annotations

from enum import Enum


class ErrorCode(Enum):
    """`code` and HTTP status of every refusal. Codes are stable: scripts compare them."""

    BAD_REQUEST = ("bad_request", 400)
    INVALID_SIGNATURE = ("invalid_signature", 401)
    UNAUTHENTICATED = ("unauthenticated", 401)
    TOKEN_EXPIRED = ("token_expired", 401)
    FORBIDDEN = ("forbidden", 403)
    FIDO2_REQUIRED = ("fido2_required", 403)
    NOT_FOUND = ("not_found", 404)
    METHOD_NOT_ALLOWED = ("method_not_allowed", 405)
    BUSY = ("busy", 409)
    NOT_ALLOWED_NOW = ("not_allowed_now", 409)
    NAME_TAKEN = ("name_taken", 409)
    RECORDS_MISSING = ("records_missing", 409)
    CLUSTER_CHANGED = ("cluster_changed", 409)
    FINDING_CHANGED = ("finding_changed", 409)
    BODY_TOO_LARGE = ("body_too_large", 413)
    UNSUPPORTED_MEDIA_TYPE = ("unsupported_media_type", 415)
    INVALID = ("invalid", 422)
    SANDBOX_UNAVAILABLE = ("sandbox_unavailable", 422)
    TOO_MANY_REQUESTS = ("too_many_requests", 429)
    INTERNAL = ("internal", 500)
    UNAVAILABLE = ("unavailable", 503)

    def __init__(self, code: str, status: int) -> None:
        """Unpack the pair."""
        self.code = code
        self.status = status
