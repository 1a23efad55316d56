"""Every mistake is refused by the CRD's schema, or is a condition and an event that say what to write; nothing is
written."""

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.cluster.api import ApiError, Object
from tests.cluster.secret_sync import class_mistakes, mistakes
from tests.cluster.secret_sync.mistakes import ABSENT, ENTRY, STORE
from tests.cluster.secret_sync.rig import SecretSyncRig
from tests.cluster.servers import ControlPlane
from tests.support.waiting import until_blocking

STRICT = {"fieldValidation": "Strict", "dryRun": "All"}  # as kubectl, which refuses unknown fields
OBJECTS = "array:\n" + "".join(f"- |\n  objectName: {name}\n" for name in STORE)


@dataclass(frozen=True)
class Outcome:
    """What became of a SecretSync: its conditions that are not Unknown, its events' reasons and its Secret."""

    conditions: list[Object]
    events: set[str]
    secret: Object | None


@pytest.fixture(scope="module")
def rig(cluster: ControlPlane, limited: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecretSyncRig]:
    """A namespace for all of them."""
    namespace = cluster.namespace(f"mistakes-{uuid.uuid4().hex[:6]}")
    cluster.service_account(namespace, "default")
    yield SecretSyncRig(cluster, namespace, tmp_path_factory.mktemp("mistakes"))
    cluster.api.delete(f"/api/v1/namespaces/{namespace}")


@pytest.fixture(scope="module")
def outcomes(rig: SecretSyncRig) -> dict[str, Outcome]:
    """What became of all mistakes that the schema accepts, and of a SecretSync without one."""
    names: dict[str, str] = {}
    rig.make_class(parameters={"objects": OBJECTS})

    def make(mistake: str, spec: Object, secret: Object) -> None:
        name = names[mistake] = f"app-{len(names)}"
        body = rig.sync_object(name, secret=secret, **spec)
        body["spec"]["secretObject"] = without_absent(body["spec"]["secretObject"])
        rig.api.create(body)

    make("none", {}, {})
    for mistake, case in mistakes.FAILING.items():
        make(mistake, case.spec, case.secret)
    for number, (mistake, (files, _)) in enumerate(class_mistakes.FAILING.items()):
        rig.make_class(f"class-{number}", parameters={"objects": OBJECTS}, files=files)
        make(f"files: {mistake}", {"secretProviderClassName": f"class-{number}"}, {})

    async def test() -> dict[str, Outcome]:
        async with rig.provider() as stub, rig.controller():
            for name, content in STORE.items():
                stub.put(name, content)
            found: dict[str, Outcome] = {}

            def all_ended() -> bool:
                found.update(look())
                return all(item.conditions and (item.events or item.secret) for item in found.values())

            await until_blocking(all_ended, lambda: f"the end of all, not {found}", 90, pause=0.5)
            return found

    def look() -> dict[str, Outcome]:
        statuses = {
            item["metadata"]["name"]: item.get("status") or {}
            for item in rig.api.get(rig.sync_path("").rstrip("/"))["items"]
        }
        secrets = {item["metadata"]["name"]: item for item in rig.listed("secrets")}
        events: dict[str, set[str]] = {}
        for item in rig.events():
            events.setdefault(item["involvedObject"]["name"], set()).add(item["reason"])
        return {
            mistake: Outcome(
                [item for item in statuses[name].get("conditions") or () if item["status"] != "Unknown"],
                events.get(name, set()),
                secrets.get(name),
            )
            for mistake, name in names.items()
        }

    return asyncio.run(asyncio.wait_for(test(), 120))


def without_absent(fields: Object) -> Object:
    """Without the fields that are left out."""
    return {key: value for key, value in fields.items() if value is not ABSENT}


def changed(body: Object, path: str, value: Any) -> Object:
    """The object with another value of the field; that of an entry of a list is the list's."""
    *parents, last = path.partition("[")[0].split(".")
    inner = body
    for name in parents:
        inner = inner[name]
    inner[last] = value
    if last == "dataFrom":
        del inner["data"]
    return body


def fields_of(table: dict[str, dict[str, Any]]) -> list[Any]:
    """The cases of a table of what the schema refuses."""
    return [pytest.param(path, values[what], id=f"{path} {what}") for path, values in table.items() for what in values]


def refusal(rig: SecretSyncRig, body: Object) -> str:
    """The API server's text."""
    with pytest.raises(ApiError) as raised:
        rig.api.request("POST", rig.api.path(body, collection=True), body, query=STRICT)
    assert raised.value.status in (400, 422)
    return str(raised.value)


@pytest.mark.parametrize(("path", "value"), fields_of(mistakes.REFUSED))
def test_refused_by_the_schema(rig: SecretSyncRig, path: str, value: Any) -> None:
    """The SecretSync is refused, with a text that names the field."""
    body = rig.sync_object("refused", secret={"data": [ENTRY]})
    parent, _, last = path.rpartition(".")
    if value is not ABSENT:
        body = changed(body, path, value)
    elif parent:
        del (body["spec"] if parent == "spec" else body["spec"]["secretObject"])[last]
    else:
        del body[last]
    text = refusal(rig, body)
    assert path in text, text


@pytest.mark.parametrize(("path", "value"), fields_of(class_mistakes.REFUSED))
def test_classes_refused_by_the_schema(rig: SecretSyncRig, path: str, value: Any) -> None:
    """The class is refused, with a text that names the field."""
    body: Object = {
        "apiVersion": "secrets-store.csi.x-k8s.io/v1",
        "kind": "SecretProviderClass",
        "metadata": {"namespace": rig.namespace, "name": "refused"},
        "spec": {"provider": "stub", "secretObjects" if "secretObjects" in path else "files": value},
    }
    text = refusal(rig, body)
    assert path in text, text


def test_without_a_mistake(outcomes: dict[str, Outcome]) -> None:
    """The same SecretSync without a mistake → its Secret; so the others fail for what differs."""
    assert outcomes["none"].secret is not None
    assert [item["reason"] for item in outcomes["none"].conditions] == ["CreateSuccessful"]


@pytest.mark.parametrize("mistake", mistakes.FAILING)
def test_a_condition(outcomes: dict[str, Outcome], request: pytest.FixtureRequest, mistake: str) -> None:
    """A condition with the sentence, an event of the same reason, no Secret, nothing of the store's content."""
    case = mistakes.FAILING[mistake]
    if case.text in (mistakes.TYPE, mistakes.DENIED):
        request.getfixturevalue("policies_in_force")
    check(outcomes[mistake], case.reason, case.text)


@pytest.mark.parametrize("mistake", class_mistakes.FAILING)
def test_a_condition_about_files(outcomes: dict[str, Outcome], mistake: str) -> None:
    """The same for a mistake in the class's files."""
    sentence = class_mistakes.FAILING[mistake][1]
    check(outcomes[f"files: {mistake}"], mistakes.FETCH, sentence)
    (condition,) = outcomes[f"files: {mistake}"].conditions
    assert "spec.files" in condition["message"]


def check(outcome: Outcome, reason: str, text: str) -> None:
    """One condition, for one reason."""
    assert outcome.secret is None
    (condition,) = outcome.conditions
    assert (condition["type"], condition["status"], condition["reason"]) == ("SecretCreated", "False", reason)
    assert text in condition["message"] and "s3cret" not in condition["message"], condition["message"]
    assert outcome.events == {reason}
