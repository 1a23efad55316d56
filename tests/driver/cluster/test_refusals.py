"""What a 403 of the API server is told as."""

import json
from collections.abc import Mapping

import pytest

from driver.cluster.answers import describe
from driver.cluster.secret_refusals import forbidden
from driver.sync.wanted import Wanted
from runtime.errors import PermissionDenied

NAMESPACE = "quota-admission-webhook-terminated"
RIGHTS = "syncSecret.enabled=true"
CASES: Mapping[str, tuple[str, str]] = {
    "no right": ('secrets is forbidden: User "x" cannot create resource "secrets" in API group ""', RIGHTS),
    "quota": ('secrets "s" is forbidden: exceeded quota: q, requested: count/secrets=1', "raise the quota"),
    "owners": (
        "secrets is forbidden: cannot set an ownerRef on a resource you can't delete: x",
        "ownerReferencesPermissionEnforcement",
    ),
    "webhook": ('admission webhook "quota.example" denied the request: s3cret', '(admission webhook "quota.example")'),
    "terminated": ("unable to create new content in namespace x because it is being terminated", "is being deleted"),
    "another's words": ("s3cret (exceeded", RIGHTS),
}


@pytest.mark.parametrize("case", CASES)
def test_refusals(case: str) -> None:
    """Each is told by its own sentence, whatever the namespace is called, and nothing of the message but the hint."""
    message, expected = CASES[case]
    body = json.dumps({"reason": "Forbidden", "message": message, "code": 403}).encode()
    failure = PermissionDenied(describe("POST", f"/api/v1/namespaces/{NAMESPACE}/secrets", 403, body))
    told = forbidden(Wanted(NAMESPACE, "s", "Opaque", "app", {}, {}, {}, 0.0), failure)
    assert expected in told and "s3cret" not in told
    assert (RIGHTS in told) == (expected == RIGHTS)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"details":[]}', b'{"details":{"causes":[1]}}', b"\xff"])
def test_a_body_that_is_none(body: bytes) -> None:
    """An answer of something between us and the API server: the status alone."""
    assert describe("GET", "/x", 403, body) == "the API server answered 403 to GET /x"
