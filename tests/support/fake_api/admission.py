"""Built-in admission: the validation and defaulting rules of Kubernetes that a client of ours can run into."""

import binascii
import re
from base64 import b64decode, b64encode
from typing import Any

from tests.support.fake_api.errors import ApiError
from tests.support.fake_api.resources import Admission, Resources

_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
LONGEST_EVENT_MESSAGE = 1024
LARGEST_SECRET = 1024 * 1024


def install(resources: Resources) -> None:
    """Add all rules to ``resources``."""
    resources.admitters += [("*", labels), ("*", owners), ("secrets", secret), ("events", event)]


def labels(admission: Admission) -> None:
    """Validate the values of labels."""
    for key, value in (admission.item.get("metadata", {}).get("labels") or {}).items():
        if not isinstance(value, str):
            raise ApiError(400, f"label {key} cannot be handled: it is not a string")
        if not _LABEL_VALUE.fullmatch(value):
            raise _invalid(admission, "metadata.labels", f"label {key} has a bad value: {value!r}")


def owners(admission: Admission) -> None:
    """Validate that owner references are complete."""
    for number, owner in enumerate(admission.item.get("metadata", {}).get("ownerReferences") or ()):
        for name in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(name):
                raise _invalid(admission, f"metadata.ownerReferences[{number}].{name}", "a value is required")


def secret(admission: Admission) -> None:
    """Merge ``stringData``, default the type, and validate base64, size, and what must not change."""
    item, former = admission.item, admission.former
    data: dict[str, Any] = item.get("data") or {}
    data.update({key: b64encode(text.encode()).decode() for key, text in (item.pop("stringData", None) or {}).items()})
    if data:
        item["data"] = data
    item.setdefault("type", "Opaque")
    try:
        size = sum(len(b64decode(value or "", validate=True)) for value in data.values())
    except (binascii.Error, ValueError):
        sentence = "Secret in version v1 cannot be handled as a Secret: illegal base64 data"
        raise ApiError(400 if former is None else 422, sentence) from None
    if size > LARGEST_SECRET:
        raise _invalid(admission, "data", "too long")
    if former is None:
        return
    if item["type"] != former["type"]:
        raise _invalid(admission, "type", "field is immutable")
    if former.get("immutable") and (item.get("data") != former.get("data") or not item.get("immutable")):
        raise _invalid(admission, "data", "field is immutable when `immutable` is set")


def event(admission: Admission) -> None:
    """Validate an event's namespace and the length of its message."""
    item = admission.item
    about = item.get("involvedObject") or item.get("regarding") or {}
    if about.get("namespace", "") != admission.target.namespace:
        raise _invalid(admission, "involvedObject.namespace", "does not match event.namespace")
    if len(item.get("message") or item.get("note") or "") > LONGEST_EVENT_MESSAGE:
        raise _invalid(admission, "message", f"can have at most {LONGEST_EVENT_MESSAGE} characters")


def _invalid(admission: Admission, field: str, what: str) -> ApiError:
    target = admission.target
    return ApiError(422, f'{target.qualified} "{target.name}" is invalid: {field}: {what}', fields=[field])
