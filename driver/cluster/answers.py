"""What the API server's answers mean for the caller: which are failures, which are worth a retry, what may be said of
them. Bodies are not quoted, because they may contain what was sent, unless the caller has withheld that."""

import json
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from runtime import redact
from runtime.errors import Failure, InvalidRequest, NotFound, PermissionDenied

LONGEST_RETRY_AFTER = 60.0


class Conflict(Failure):
    """The object exists already, or has changed since it was read (409)."""


class NotServed(NotFound):
    """The server does not know this kind of object (404): its CRD is not installed."""


class Expired(Failure):
    """The resourceVersion is too old (410)."""


_FAILURES: Mapping[int, type[Failure]] = {
    400: InvalidRequest,
    403: PermissionDenied,
    404: NotFound,
    409: Conflict,
    410: Expired,
    422: InvalidRequest,
}
# Client errors that are worth a retry.
_TRANSIENT = frozenset({401, 408, 425, 429})
# Causes of a rejection other than a missing permission: parts of the message that contain nothing of the object.
_HINTS = re.compile(
    r"exceeded quota|cannot set an ownerRef on a resource you can't delete|because it is being terminated"
    r"""|admission webhook "[^"]{1,253}"|failed calling webhook "[^"]{1,253}"|ValidatingAdmissionPolicy '[^']{1,253}'"""
)


def decode(content: bytes) -> Any:
    """JSON. Raises ValueError for anything else, also for lists in lists without end."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def is_object(path: str, answer: Mapping[str, Any]) -> bool:
    """Whether what was answered is an object or a list of the API, and not the page of something in between, such as a
    gateway. ``/version`` is neither."""
    return path == "/version" or isinstance(answer.get("kind"), str) and isinstance(answer.get("metadata"), dict)


def event_of(line: bytes) -> dict[str, Any]:
    """An event of a watch, with the resourceVersion of its object unless it is an error. Raises ValueError for anything
    else."""
    event = decode(line)
    try:
        item = event["object"]
        if event["type"] == "ERROR":
            usable = isinstance(item.get("code", 0), int)
        else:
            usable = isinstance(event["type"], str) and isinstance(item["metadata"]["resourceVersion"], str)
    except (AttributeError, LookupError, TypeError):
        usable = False
    if not usable:
        raise ValueError("not an event of a watch")
    return dict(event)


def failure_of(status: int) -> type[Failure] | None:
    """The type of failure for a status that no retry will change; None for one that a retry may change."""
    if 400 <= status < 500 and status not in _TRANSIENT:
        return _FAILURES.get(status, InvalidRequest)
    return None


def is_not_served(status: int, content: bytes) -> bool:
    """Whether a path is unknown to the server, rather than the object that it names: then it answers as plain text."""
    return status == 404 and content.strip() == b"404 page not found"


def not_served(path: str) -> NotServed:
    """The failure for a path of a kind of objects that the server does not know: /apis/GROUP/VERSION/…/KIND/…"""
    parts = path.split("/")
    plural = parts[6 if parts[4:5] == ["namespaces"] and len(parts) > 6 else 4] if len(parts) > 4 else path
    group = parts[2] if len(parts) > 4 else ""
    return NotServed(
        f"the CRD {plural}.{group} is not installed: kubectl apply --server-side -f the chart's directory crds/"
    )


def is_of_webhook(status: int, content: bytes) -> bool:
    """Whether it is one of the cluster's admission webhooks that fails, or refuses with a 5xx, and not the server."""
    return status >= 500 and (b"failed calling webhook" in content or b"admission webhook" in content)


def describe(method: str, path: str, status: int, content: bytes) -> str:
    """The status, its reason and the names of the invalid fields; not the message, which may quote the object."""
    try:
        found = json.loads(content)
        reason = str(found.get("reason", ""))
        causes = (found.get("details") or {}).get("causes") or ()
        fields = ", ".join(sorted({str(cause["field"]) for cause in causes if cause.get("field")}))
        if hint := _HINTS.search(str(found.get("message", ""))):
            fields = hint[0]
    except (ValueError, AttributeError, TypeError):
        reason = fields = ""
    parts = (str(status), reason, f"({fields})" if fields else "")
    return f"the API server answered {' '.join(filter(None, parts))} to {method} {path}"


def is_refused_by_admission(failure: Failure) -> bool:
    """Whether a policy, a webhook or a plugin of the API server refuses what was sent, although the account may write
    such objects."""
    text = str(failure)
    return any(hint in text for hint in ("(ValidatingAdmissionPolicy ", "(admission webhook ", "you can't delete)"))


def quote(content: bytes) -> str:
    """The server's own message, without the secrets of the current call; empty if there is none."""
    try:
        return redact.text(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        return ""


def date_of(headers: Mapping[str, str]) -> float | None:
    """The server's time (Unix time, in whole seconds); None if it does not say."""
    try:
        return parsedate_to_datetime(headers["Date"]).timestamp()
    except (KeyError, ValueError, OverflowError):
        return None


def retry_after(headers: Mapping[str, str]) -> float:
    """The seconds to wait before a retry that the server asks for; 0 if it does not say."""
    try:
        return max(0.0, min(float(headers.get("Retry-After", "0")), LONGEST_RETRY_AFTER))
    except ValueError:
        return 0.0
