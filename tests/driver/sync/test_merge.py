"""What a Secret becomes: pure functions, checked for idempotence after each step."""

from base64 import b64decode, b64encode
from typing import Any

import pytest

from driver.sync.ledger import Fetched
from driver.sync.merge import ADOPT, ADOPTED_LEDGER, LEDGER, MANAGED_LABEL, Change, merge, new_secret, release
from driver.sync.references import Object, Owner
from driver.sync.wanted import Wanted
from runtime.errors import PreconditionFailed

NOW = 10_000.0
ONE, TWO = Owner("apps/v1", "ReplicaSet", "one", "1"), Owner("apps/v1", "ReplicaSet", "two", "2")


def wanted(class_name: str = "app", last_refresh: float = 1000.0, **fields: Any) -> Wanted:
    """A Secret as a class wants it."""
    values: dict[str, Any] = {"data": {"k": b"v"}, "labels": {}, "annotations": {}, "type": "Opaque", **fields}
    values.setdefault("content_id", f"content of {last_refresh}")
    return Wanted(namespace="ns", name="s", class_name=class_name, refreshed_at=last_refresh, **values)


def made(secret: Wanted, owners: list[Owner]) -> Object:
    """A new Secret."""
    return new_secret(secret, owners, Fetched(secret.refreshed_at or 0.0, NOW))


def merged(found: Object, secret: Wanted, owners: list[Owner], *, adopt: bool = False, now: float = NOW) -> Change:
    """What a Secret becomes ``now``."""
    return merge(found, secret, owners, Fetched(secret.refreshed_at or 0.0, now), adopt=adopt)


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
    body = stored(made(wanted(labels={"a": "b"}), [ONE, ONE]))
    assert body["metadata"]["labels"] == {"a": "b", MANAGED_LABEL: "true"}
    assert body["metadata"]["ownerReferences"] == [ONE.reference()]
    assert merged(body, wanted(labels={"a": "b"}), [ONE]).patch is None


def test_an_owner_is_added_in_a_patch_of_its_own_version() -> None:
    """By UID: another object of the same name is another owner."""
    body = stored(made(wanted(), [ONE]))
    namesake = Owner("apps/v1", "ReplicaSet", "one", "3")
    change = merged(body, wanted(), [ONE, namesake])
    assert change.patch == {
        "metadata": {"resourceVersion": "1", "ownerReferences": [ONE.reference(), namesake.reference()]}
    }


def test_own_keys_go_and_foreign_ones_stay() -> None:
    """The class drops a key, a label and an annotation: these go, what others put there stays."""
    old = wanted(data={"k": b"v", "old": b"o"}, labels={"l": "1", "m": "1"}, annotations={"n": "1"})
    body = stored(made(old, [ONE]))
    body["data"]["theirs"] = b64encode(b"x").decode()
    body["metadata"]["labels"]["theirs"] = body["metadata"]["annotations"]["theirs"] = "x"
    change = merged(body, wanted(labels={"l": "2"}), [ONE])
    result = after(body, change)
    assert data(result) == {"k": b"v", "theirs": b"x"}
    assert result["metadata"]["labels"] == {"l": "2", "theirs": "x", MANAGED_LABEL: "true"}
    assert result["metadata"]["annotations"].keys() == {"theirs", LEDGER}
    assert merged(result, wanted(labels={"l": "2"}), [ONE]).patch is None


def test_older_content_does_not_overwrite() -> None:
    """A pod whose volume was fetched earlier adds its owner and missing keys, not its old values."""
    body = stored(made(wanted(last_refresh=2000.0), [ONE]))
    older = wanted(last_refresh=1000.0, data={"k": b"old", "more": b"m"})
    result = after(body, merged(body, older, [TWO]))
    assert data(result) == {"k": b"v", "more": b"m"}
    assert len(result["metadata"]["ownerReferences"]) == 2


@pytest.mark.parametrize(("time", "writes"), [(1000.0, False), (1996.0, True), (2001.0, True)])
def test_ledger_of_an_earlier_version_is_understood(time: float, writes: bool) -> None:
    """The annotation is stored in clusters: what was written as `fetched`, by the clock of a node and without a
    content, protects newer values from older content."""
    body = stored(made(wanted(last_refresh=2000.0), [ONE]))
    text = '{"adopted":false,"classes":{"app":{"annotations":[],"data":["k"],"fetched":2000.0,"labels":[]}}}'
    body["metadata"]["annotations"][LEDGER] = text
    change = merged(body, wanted(last_refresh=time, data={"k": b"other"}), [ONE])
    assert (change.patch is not None and "data" in change.patch) == writes


@pytest.mark.parametrize("written", [2000.0, 2030.0, 2299.0, 5000.0])
def test_what_was_fetched_just_now_is_the_newest(written: float) -> None:
    """A first publish or a refresh writes its values at once, whatever time the ledger has: of a moment ago, or ahead
    because it is by another clock."""
    body = stored(made(wanted(last_refresh=written), [ONE]))
    change = merged(body, wanted(last_refresh=2000.0, data={"k": b"n"}), [ONE], now=2002.0)
    assert data(after(body, change)) == {"k": b"n"}


@pytest.mark.parametrize(("time", "writes"), [(1990.0, False), (1999.0, False), (2000.5, False), (2002.0, True)])
def test_content_that_is_written_late(time: float, writes: bool) -> None:
    """Content that could not be written for an hour → it is written if it was fetched after that of the Secret. If both
    were fetched in the same second, the one that was written first stays, instead of each writing over the other."""
    body = stored(made(wanted(last_refresh=2000.0), [ONE]))
    change = merged(body, wanted(last_refresh=time, data={"k": b"n"}), [ONE], now=time + 3600)
    assert (change.patch is not None) == writes


def test_two_nodes_two_seconds_apart() -> None:
    """Two nodes fetch another value each, 2 s apart → the later one is in the Secret, and no later check of either, in
    whatever order, writes the earlier one back; an edit is corrected by the node whose content it was."""
    one, two = wanted(last_refresh=2000.0, data={"k": b"1"}), wanted(last_refresh=2002.0, data={"k": b"2"})
    body = stored(made(one, [ONE]))
    body = after(body, merged(body, two, [ONE], now=2002.1))
    for now in (2300.0, 2600.0):
        for secret in (one, two):
            assert merged(body, secret, [ONE], now=now).patch is None
    body["data"]["k"] = b64encode(b"edited").decode()
    assert merged(body, one, [ONE], now=3000.0).patch is None
    assert data(after(body, merged(body, two, [ONE], now=3000.0))) == {"k": b"2"}


def test_content_of_unknown_age() -> None:
    """A restart with the clock set back: the age of the content is unknown → it fills gaps, and writes over nothing but
    an edit of its own values."""
    body = stored(made(wanted(last_refresh=2000.0), [ONE]))
    unknown = wanted(last_refresh=0.0, data={"k": b"old", "more": b"m"}, content_id="another")
    assert data(after(body, merged(body, unknown, [ONE]))) == {"k": b"v", "more": b"m"}
    same = wanted(last_refresh=0.0, data={"k": b"own"}, content_id="content of 2000.0")
    assert data(after(body, merged(body, same, [ONE]))) == {"k": b"own"}


def test_owners_alone() -> None:
    """A patch that only adds owners says which; one that does more does not."""
    body = stored(made(wanted(), [ONE]))
    assert merged(body, wanted(), [ONE, TWO]).only_owners == frozenset({TWO.uid})
    assert merged(body, wanted(last_refresh=9999.0, data={"k": b"n"}), [ONE, TWO]).only_owners is None
    assert merged(body, wanted(labels={"a": "b"}), [ONE, TWO]).only_owners is None


def test_older_writes_do_not_set_the_clock_back() -> None:
    """An older volume that filled in a key does not open the door to its other old values."""
    body = stored(made(wanted(last_refresh=2000.0), [ONE]))
    older = wanted(last_refresh=1000.0, data={"k": b"old", "more": b"m"})
    result = after(body, merged(body, older, [ONE]))
    assert merged(result, older, [ONE]).patch is None


@pytest.mark.parametrize("references, expected", [([], 0), ([TWO.reference()], 2)])
def test_adoption(references: list[Object], expected: int) -> None:
    """Ours is added and theirs kept; owners only where there was one before, now and later."""
    body = foreign(metadata={"ownerReferences": references})
    change = merged(body, wanted(), [ONE], adopt=True)
    assert change.adopted
    result = after(body, change)
    assert data(result) == {"theirs": b"x", "k": b"v"}
    assert len(result["metadata"].get("ownerReferences") or []) == expected
    again = merged(result, wanted(), [ONE])
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
        merged(body, wanted(), [ONE])
    assert merged(body, wanted(), [ONE], adopt=True).adopted
    allowed = foreign(metadata={**metadata, "annotations": {**metadata.get("annotations", {}), ADOPT: "true"}})
    assert merged(allowed, wanted(), [ONE]).adopted


@pytest.mark.parametrize(
    "moment",
    [
        "1e999",
        "-1e999",
        "9999999999",
        "1e300",
        "-5",
        "null",
        '"soon"',
        "[]",
        "true",
        "NaN",
        "{}",
        "9" * 400,
        "9" * 5000,
    ],
)
def test_a_spoilt_ledger_does_not_stop_the_sync(moment: str) -> None:
    """Scenario: somebody edits the time in the ledger. Expected: a new value is written all the same."""
    body = stored(made(wanted(last_refresh=2000.0), [ONE]))
    entry = '{"annotations":[],"data":["k"],"fetched":' + moment + ',"labels":[]}'
    body["metadata"]["annotations"][LEDGER] = '{"adopted":false,"classes":{"app":' + entry + "}}"
    assert data(after(body, merged(body, wanted(last_refresh=3000.0, data={"k": b"new"}), [ONE])))["k"] == b"new"


def test_the_go_drivers_secret_is_not_adopted() -> None:
    """Its label says that it is ours."""
    change = merged(foreign(metadata={"labels": {MANAGED_LABEL: "true"}}), wanted(), [ONE])
    assert not change.adopted and change.patch is not None and "ownerReferences" in change.patch["metadata"]


@pytest.mark.parametrize(
    "spoilt", ["", "x", "[]", "{}", '{"classes":[]}', '{"classes":{"app":3}}', "[" * 9999, '{"classes":' * 9999]
)
def test_a_spoilt_ledger(spoilt: str) -> None:
    """Somebody edited the annotation: it is written anew."""
    body = stored(made(wanted(), [ONE]))
    body["metadata"]["annotations"][LEDGER] = spoilt
    result = after(body, merged(body, wanted(), [ONE]))
    assert merged(result, wanted(), [ONE]).patch is None


@pytest.mark.parametrize(
    "spoilt", ['{"adopted":true', '{"adopted":true,"classes":[]}', '{"adopted":true,"classes":3}x']
)
def test_a_spoilt_ledger_of_an_adopted_secret(spoilt: str) -> None:
    """The Secret is somebody else's and has no owner: it stays so, and is not deleted with the pods."""
    body = stored({**made(wanted(), []), "type": "Opaque"})
    body["metadata"]["annotations"][LEDGER] = spoilt
    change = merged(body, wanted(data={"k": b"new"}), [ONE])
    assert change.patch is not None and "ownerReferences" not in change.patch["metadata"]
    assert after(body, change)["metadata"]["annotations"][LEDGER].startswith(ADOPTED_LEDGER)


def test_two_classes() -> None:
    """Each keeps its keys; a key that both want is taken and told of; its former holder does not remove it."""
    body = stored(made(wanted("one", data={"a": b"1", "both": b"1"}), [ONE]))
    change = merged(body, wanted("two", data={"b": b"2", "both": b"2"}), [ONE])
    assert change.taken == [("both", "one")]
    result = after(body, change)
    assert data(result) == {"a": b"1", "b": b"2", "both": b"2"}
    result = after(result, merged(result, wanted("one", data={"a": b"1", "new": b"n"}), [ONE]))
    assert data(result) == {"a": b"1", "b": b"2", "both": b"2", "new": b"n"}


def test_types_and_immutable_secrets() -> None:
    """Refused with what to do; an immutable Secret that is right already gets a new owner."""
    body = stored(made(wanted(), [ONE]))
    with pytest.raises(PreconditionFailed, match="type cannot be changed"):
        merged(body, wanted(type="kubernetes.io/tls"), [ONE])
    body["immutable"] = True
    with pytest.raises(PreconditionFailed, match="immutable"):
        merged(body, wanted(data={"k": b"n"}), [ONE])
    change = merged(body, wanted(), [TWO])
    assert change.patch is not None and "data" not in change.patch


def test_values_do_not_show() -> None:
    """A repr in a log or a traceback has keys at most."""
    secret = wanted(data={"k": b"s3cret"})
    body = stored(made(wanted(), [ONE]))
    assert "s3cret" not in repr(secret) and "s3cret" not in str(secret)
    assert b64encode(b"s3cret").decode() not in repr(merged(body, secret, [ONE]))


CLASS = Owner("secrets-store.csi.x-k8s.io/v1", "SecretProviderClass", "app", "class-1")


def owner_uids(secret: Object) -> list[str]:
    """The UIDs of the owners, in order."""
    return [reference["uid"] for reference in secret["metadata"].get("ownerReferences") or []]


def settled(found: Object, secret: Wanted, owners: list[Owner]) -> Object:
    """The Secret after as many changes as it takes, which are two at most."""
    for _ in range(2):
        change = merged(found, secret, owners)
        if change.patch is None:
            return found
        found = after(found, change)
    assert merged(found, secret, owners).patch is None
    return found


def test_the_class_owns_a_secret_that_stays() -> None:
    """A new Secret, and one that exists without: the class is an owner beside the pods' owners, once."""
    new = stored(made(wanted(class_uid="class-1"), [ONE]))
    assert new["metadata"]["ownerReferences"] == [ONE.reference(), CLASS.reference()]
    assert merged(new, wanted(class_uid="class-1"), [ONE]).patch is None
    former = stored(made(wanted(), [ONE]))
    assert owner_uids(settled(former, wanted(class_uid="class-1"), [ONE])) == ["1", "class-1"]


@pytest.mark.parametrize("present", [[ONE], []], ids=["with its pods' owner", "of the class alone"])
def test_the_policy_is_switched_back(present: list[Owner]) -> None:
    """WithClass, and then WithPods → the class is taken from the owners in the write that adds those of the pods, which
    are read again before; the ledger is that of a Secret which never stayed."""
    kept = stored(made(wanted(class_uid="class-1"), [ONE]))
    kept["metadata"]["ownerReferences"] = [*(owner.reference() for owner in present), CLASS.reference()]
    change = merged(kept, wanted(), [ONE])
    assert change.patch is not None and change.patch["metadata"]["ownerReferences"] == [ONE.reference()]
    assert change.only_owners is None
    assert settled(kept, wanted(), [ONE]) == stored(made(wanted(), [ONE]))


def test_back_and_forth() -> None:
    """Three switches → as after the first."""
    once = settled(stored(made(wanted(), [ONE])), wanted(class_uid="class-1"), [ONE])
    again = settled(settled(once, wanted(), [ONE]), wanted(class_uid="class-1"), [ONE])
    assert again == once


def test_a_class_that_was_created_again() -> None:
    """The reference to its predecessor is replaced."""
    former = stored(made(wanted(class_uid="class-1"), [ONE]))
    assert owner_uids(settled(former, wanted(class_uid="class-2"), [ONE])) == ["1", "class-2"]


def test_a_removal_that_is_refused() -> None:
    """A cluster whose policy lets the driver remove no owner → the rest is written, and it is tried again each time."""
    kept = stored(made(wanted(class_uid="class-1"), [ONE]))
    change = merged(kept, wanted(data={"k": b"new"}), [ONE])
    rest = change.without_owners()
    assert rest is not None and change.changes_owners
    found = after(kept, Change(rest))
    assert owner_uids(found) == ["1", "class-1"] and data(found) == {"k": b"new"}
    assert owner_uids(settled(found, wanted(data={"k": b"new"}), [ONE])) == ["1"]


@pytest.mark.parametrize("policy", ["", "class-2"])
def test_a_reference_that_somebody_else_set(policy: str) -> None:
    """A user has made another class, or this one, an owner by hand → it stays."""
    theirs = stored(made(wanted(), [ONE, CLASS]))
    assert "class-1" in owner_uids(settled(theirs, wanted(class_uid=policy), [ONE]))
    assert release(theirs, "app", [ONE], NOW) is None


def test_an_adopted_secret_without_owners_gets_none() -> None:
    """It is never deleted, so it stays anyway."""
    found = settled(foreign(metadata={"annotations": {ADOPT: "true"}}), wanted(class_uid="class-1"), [ONE])
    assert owner_uids(found) == [] and release(found, "app", [ONE], NOW) is None


def test_an_entry_that_is_removed() -> None:
    """The class is taken from the owners, those of the pods are added, nothing else changes; a second time there is
    nothing to do. The other class of the Secret keeps its reference."""
    one = stored(made(wanted(class_uid="class-1"), [ONE]))
    both = settled(one, wanted("other", data={"o": b"v"}, class_uid="class-2"), [ONE])
    patch = release(both, "app", [TWO], NOW)
    assert patch is not None and patch["metadata"]["resourceVersion"] == "1" and "data" not in patch
    found = after(both, Change(patch))
    assert owner_uids(found) == ["1", "class-2", "2"] and data(found) == {"k": b"v", "o": b"v"}
    assert release(found, "app", [TWO], NOW) is None
    assert release(found, "other", [TWO], NOW) is not None


@pytest.mark.parametrize("ledger", [None, "nonsense", '{"classes":{"app":{"owner":5}}}', '{"classes":{"app":{}}}'])
def test_an_entry_is_removed_and_the_ledger_is_spoilt(ledger: str | None) -> None:
    """Nothing is known of what the driver has added, so nothing is removed."""
    found = stored(made(wanted(class_uid="class-1"), [ONE]))
    found["metadata"]["annotations"][LEDGER] = ledger
    assert release(found, "app", [ONE], NOW) is None
