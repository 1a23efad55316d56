"""What a Secret becomes: pure functions, checked for idempotence after each step."""

from base64 import b64decode, b64encode
from typing import Any

import pytest

from driver.sync.merge import ADOPT, ADOPTED_LEDGER, LEDGER, MANAGED_LABEL, Change, Object, Owner, merge, new_secret
from driver.sync.wanted import Wanted
from runtime.errors import PreconditionFailed

ONE, TWO = Owner("apps/v1", "ReplicaSet", "one", "1"), Owner("apps/v1", "ReplicaSet", "two", "2")


def wanted(class_name: str = "app", last_refresh: float = 1000.0, **fields: Any) -> Wanted:
    """A Secret as a class wants it."""
    values: dict[str, Any] = {"data": {"k": b"v"}, "labels": {}, "annotations": {}, "type": "Opaque", **fields}
    return Wanted(namespace="ns", name="s", class_name=class_name, last_refresh=last_refresh, **values)


def stored(body: Object) -> Object:
    """As the API server would give it back."""
    return {**body, "metadata": {**body["metadata"], "resourceVersion": "1"}}


def after(found: Object, change: Change) -> Object:
    """The Secret with the patch applied (RFC 7386, as deep as ours go)."""
    assert change.patch is not None
    result = {**found, "metadata": {**found["metadata"]}, "data": {**(found.get("data") or {})}}
    _apply(result["data"], change.patch.get("data") or {})
    for part, value in change.patch["metadata"].items():
        if isinstance(value, dict):
            result["metadata"][part] = {**(found["metadata"].get(part) or {})}
            _apply(result["metadata"][part], value)
        else:
            result["metadata"][part] = value
    return result


def _apply(target: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if value is None:
            target.pop(key)
        else:
            target[key] = value


def data(secret: Object) -> dict[str, bytes]:
    """The values."""
    return {key: b64decode(value) for key, value in secret["data"].items()}


def foreign(**fields: Any) -> Object:
    """A Secret that a person made."""
    values: dict[str, Any] = {"type": "Opaque", "data": {"theirs": b64encode(b"x").decode()}, **fields}
    return {**values, "metadata": {"resourceVersion": "1", **fields.get("metadata", {})}}


def test_a_new_secret_is_as_it_should_be() -> None:
    """What was made needs no change; owners are named once."""
    body = stored(new_secret(wanted(labels={"a": "b"}), [ONE, ONE]))
    assert body["metadata"]["labels"] == {"a": "b", MANAGED_LABEL: "true"}
    assert body["metadata"]["ownerReferences"] == [ONE.reference()]
    assert merge(body, wanted(labels={"a": "b"}), [ONE]).patch is None


def test_an_owner_is_added_in_a_patch_of_its_own_version() -> None:
    """By UID: another object of the same name is another owner."""
    body = stored(new_secret(wanted(), [ONE]))
    namesake = Owner("apps/v1", "ReplicaSet", "one", "3")
    change = merge(body, wanted(), [ONE, namesake])
    assert change.patch == {
        "metadata": {"resourceVersion": "1", "ownerReferences": [ONE.reference(), namesake.reference()]}
    }


def test_own_keys_go_and_foreign_ones_stay() -> None:
    """The class drops a key, a label and an annotation: these go, what others put there stays."""
    old = wanted(data={"k": b"v", "old": b"o"}, labels={"l": "1", "m": "1"}, annotations={"n": "1"})
    body = stored(new_secret(old, [ONE]))
    body["data"]["theirs"] = b64encode(b"x").decode()
    body["metadata"]["labels"]["theirs"] = body["metadata"]["annotations"]["theirs"] = "x"
    change = merge(body, wanted(labels={"l": "2"}), [ONE])
    result = after(body, change)
    assert data(result) == {"k": b"v", "theirs": b"x"}
    assert result["metadata"]["labels"] == {"l": "2", "theirs": "x", MANAGED_LABEL: "true"}
    assert result["metadata"]["annotations"].keys() == {"theirs", LEDGER}
    assert merge(result, wanted(labels={"l": "2"}), [ONE]).patch is None


def test_older_content_does_not_overwrite() -> None:
    """A pod whose volume was fetched earlier adds its owner and missing keys, not its old values."""
    body = stored(new_secret(wanted(last_refresh=2000.0), [ONE]))
    older = wanted(last_refresh=1000.0, data={"k": b"old", "more": b"m"})
    result = after(body, merge(body, older, [TWO]))
    assert data(result) == {"k": b"v", "more": b"m"}
    assert len(result["metadata"]["ownerReferences"]) == 2


def test_ledger_of_an_earlier_version_is_understood() -> None:
    """The annotation is stored in clusters: what was written as `fetched` protects newer values from older content."""
    body = stored(new_secret(wanted(last_refresh=2000.0), [ONE]))
    text = '{"adopted":false,"classes":{"app":{"annotations":[],"data":["k"],"fetched":2000.0,"labels":[]}}}'
    assert body["metadata"]["annotations"][LEDGER] == text
    assert merge(body, wanted(last_refresh=1000.0, data={"k": b"old"}), [ONE]).patch is None


def test_about_the_same_age_overwrites() -> None:
    """Clocks differ by a second or two."""
    body = stored(new_secret(wanted(last_refresh=2000.0), [ONE]))
    result = after(body, merge(body, wanted(last_refresh=1998.0, data={"k": b"n"}), [ONE]))
    assert data(result) == {"k": b"n"}


def test_older_writes_do_not_set_the_clock_back() -> None:
    """An older volume that filled in a key does not open the door to its other old values."""
    body = stored(new_secret(wanted(last_refresh=2000.0), [ONE]))
    older = wanted(last_refresh=1000.0, data={"k": b"old", "more": b"m"})
    result = after(body, merge(body, older, [ONE]))
    assert merge(result, older, [ONE]).patch is None


@pytest.mark.parametrize("references, expected", [([], 0), ([TWO.reference()], 2)])
def test_adoption(references: list[Object], expected: int) -> None:
    """Ours is added and theirs kept; owners only where there was one before, now and later."""
    body = foreign(metadata={"ownerReferences": references})
    change = merge(body, wanted(), [ONE], adopt=True)
    assert change.adopted
    result = after(body, change)
    assert data(result) == {"theirs": b"x", "k": b"v"}
    assert len(result["metadata"].get("ownerReferences") or []) == expected
    again = merge(result, wanted(), [ONE])
    assert again.patch is None and not again.adopted


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"annotations": {ADOPT: "false"}},
        {"annotations": {ADOPT: "True"}},
        {"labels": {MANAGED_LABEL: "false"}},
        {"labels": {"app.kubernetes.io/managed-by": "Helm"}},
        {"ownerReferences": [TWO.reference()]},
        {"annotations": {LEDGER: "no ledger"}},
    ],
)
def test_a_secret_of_others_is_left_alone(metadata: Object) -> None:
    """Scenario: somebody else's Secret, with everything but the permission. Expected: a failure that says how to give
    it; with the annotation, or the flag, it is adopted."""
    body = foreign(metadata=metadata)
    with pytest.raises(PreconditionFailed, match=f'created by somebody else.*{ADOPT}: "true"'):
        merge(body, wanted(), [ONE])
    assert merge(body, wanted(), [ONE], adopt=True).adopted
    allowed = foreign(metadata={**metadata, "annotations": {**metadata.get("annotations", {}), ADOPT: "true"}})
    assert merge(allowed, wanted(), [ONE]).adopted


@pytest.mark.parametrize(
    "moment", ["1e999", "-1e999", "9999999999", "1e300", "-5", "null", '"soon"', "[]", "true", "NaN", "{}"]
)
def test_a_spoilt_ledger_does_not_stop_the_sync(moment: str) -> None:
    """Scenario: somebody edits the time in the ledger. Expected: a new value is written all the same."""
    body = stored(new_secret(wanted(last_refresh=2000.0), [ONE]))
    entry = '{"annotations":[],"data":["k"],"fetched":' + moment + ',"labels":[]}'
    body["metadata"]["annotations"][LEDGER] = '{"adopted":false,"classes":{"app":' + entry + "}}"
    assert data(after(body, merge(body, wanted(last_refresh=3000.0, data={"k": b"new"}), [ONE])))["k"] == b"new"


def test_the_go_drivers_secret_is_not_adopted() -> None:
    """Its label says that it is ours."""
    change = merge(foreign(metadata={"labels": {MANAGED_LABEL: "true"}}), wanted(), [ONE])
    assert not change.adopted and change.patch is not None and "ownerReferences" in change.patch["metadata"]


@pytest.mark.parametrize("spoilt", ["", "x", "[]", "{}", '{"classes":[]}', '{"classes":{"app":3}}'])
def test_a_spoilt_ledger(spoilt: str) -> None:
    """Somebody edited the annotation: it is written anew."""
    body = stored(new_secret(wanted(), [ONE]))
    body["metadata"]["annotations"][LEDGER] = spoilt
    result = after(body, merge(body, wanted(), [ONE]))
    assert merge(result, wanted(), [ONE]).patch is None


@pytest.mark.parametrize(
    "spoilt", ['{"adopted":true', '{"adopted":true,"classes":[]}', '{"adopted":true,"classes":3}x']
)
def test_a_spoilt_ledger_of_an_adopted_secret(spoilt: str) -> None:
    """The Secret is somebody else's and has no owner: it stays so, and is not deleted with the pods."""
    body = stored({**new_secret(wanted(), []), "type": "Opaque"})
    body["metadata"]["annotations"][LEDGER] = spoilt
    change = merge(body, wanted(data={"k": b"new"}), [ONE])
    assert change.patch is not None and "ownerReferences" not in change.patch["metadata"]
    assert after(body, change)["metadata"]["annotations"][LEDGER].startswith(ADOPTED_LEDGER)


def test_two_classes() -> None:
    """Each keeps its keys; a key that both want is taken and told of; its former holder does not remove it."""
    body = stored(new_secret(wanted("one", data={"a": b"1", "both": b"1"}), [ONE]))
    change = merge(body, wanted("two", data={"b": b"2", "both": b"2"}), [ONE])
    assert change.taken == [("both", "one")]
    result = after(body, change)
    assert data(result) == {"a": b"1", "b": b"2", "both": b"2"}
    result = after(result, merge(result, wanted("one", data={"a": b"1", "new": b"n"}), [ONE]))
    assert data(result) == {"a": b"1", "b": b"2", "both": b"2", "new": b"n"}


def test_types_and_immutable_secrets() -> None:
    """Refused with what to do; an immutable Secret that is right already gets a new owner."""
    body = stored(new_secret(wanted(), [ONE]))
    with pytest.raises(PreconditionFailed, match="type cannot be changed"):
        merge(body, wanted(type="kubernetes.io/tls"), [ONE])
    body["immutable"] = True
    with pytest.raises(PreconditionFailed, match="immutable"):
        merge(body, wanted(data={"k": b"n"}), [ONE])
    change = merge(body, wanted(), [TWO])
    assert change.patch is not None and "data" not in change.patch


def test_values_do_not_show() -> None:
    """A repr in a log or a traceback has keys at most."""
    secret = wanted(data={"k": b"s3cret"})
    body = stored(new_secret(wanted(), [ONE]))
    assert "s3cret" not in repr(secret) and "s3cret" not in str(secret)
    assert b64encode(b"s3cret").decode() not in repr(merge(body, secret, [ONE]))
