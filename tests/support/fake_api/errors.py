"""Errors of the API server: an HTTP status code and a ``Status`` object that explains it."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

Object = dict[str, Any]

# The reason words of apimachinery's metav1.StatusReason, where they differ from the HTTP phrase without its spaces.
_REASONS: Mapping[int, str] = {
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Expired",
    415: "UnsupportedMediaType",
    422: "Invalid",
    500: "InternalError",
    504: "Timeout",
}


class ApiError(Exception):
    """An error response. ``fields`` are the paths of the invalid fields; ``retry_after`` is in seconds, or the
    header's whole value."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        reason: str = "",
        fields: Sequence[str] = (),
        retry_after: int | str | None = None,
    ) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message
        self.reason = reason or reason_of(status)
        self.fields = tuple(fields)
        self.retry_after = retry_after

    def status_object(self) -> Object:
        """The response body, a Kubernetes ``Status``."""
        details: Object = {}
        if self.fields:
            details["causes"] = [{"reason": "FieldValueInvalid", "field": field} for field in self.fields]
        if isinstance(self.retry_after, int):
            details["retryAfterSeconds"] = self.retry_after
        return {
            "apiVersion": "v1",
            "kind": "Status",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.status,
            "details": details,
        }


def reason_of(status: int) -> str:
    """The ``reason`` that Kubernetes uses for an HTTP status code."""
    if status in _REASONS:
        return _REASONS[status]
    try:
        return HTTPStatus(status).phrase.replace(" ", "")
    except ValueError:
        return "Unknown"
