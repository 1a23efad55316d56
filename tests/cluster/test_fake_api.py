"""The fake API server compared with the real one: both get the same calls and must respond alike."""

import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.servers import ControlPlane
from tests.support.fake_api import FakeApi, Object
from tests.support.plain_client import MERGE, PARTIAL, PlainClient, a_class, a_secret

GROUP = "/apis/secrets-store.csi.x-k8s.io/v1"
PARTIAL_LIST = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
# What a server chooses for itself, or keeps for clients that the fake one has no use for.
VOLATILE = (
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "managedFields",
    "selfLink",
    "namespace",
)

Talk = Callable[[PlainClient, str], Iterator[Any]]


def an_event(name: str, namespace: str, message: str = "m") -> Object:
    """An event on a pod of a namespace."""
    about = {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": "pod", "uid": "1"}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name},
        "involvedObject": about,
        "message": message,
    }


def outline(item: Any) -> Any:
    """An object without what differs between servers; of an error, the code and reason."""
    if item.get("kind") == "Status":
        return item.get("code", 0), item.get("reason", "")
    if "items" in item:
        kept = {key: value for key, value in item["metadata"].items() if key == "remainingItemCount"}
        return item["kind"], kept, bool(item["metadata"].get("continue")), [outline(each) for each in item["items"]]
    metadata = {key: value for key, value in item["metadata"].items() if key not in VOLATILE}
    return {**item, "metadata": metadata}


def life(client: PlainClient, namespace: str) -> Iterator[Any]:
    """One object from its creation to its deletion."""
    path = f"{GROUP}/namespaces/{namespace}/secretproviderclasses"
    yield client.ask("POST", path, a_class())
    status, made = client.ask("GET", f"{path}/app")
    yield status, made
    yield client.ask("POST", path, a_class())
    labelled = {**made, "metadata": {**made["metadata"], "labels": {"a": "b"}}, "spec": {"provider": "other"}}
    yield client.ask("PUT", f"{path}/app", labelled)
    yield client.ask("PUT", f"{path}/app", labelled)  # its resourceVersion is that of yesterday
    yield client.ask("PATCH", f"{path}/app", {"metadata": {"labels": {"a": None, "c": "d"}}}, MERGE)
    yield client.ask("PATCH", f"{path}/app", {}, MERGE)
    yield client.ask("GET", f"{path}/app", None, PARTIAL)
    yield client.ask("PATCH", f"{path}/app", {"metadata": {"resourceVersion": "1"}}, MERGE)
    yield client.ask("PATCH", f"{path}/app", {"metadata": {"uid": "another"}}, MERGE)
    yield client.ask("DELETE", f"{path}/app", {"preconditions": {"uid": "another"}})
    yield client.ask("PATCH", f"{path}/app", {"metadata": {"finalizers": ["example.com/x"]}}, MERGE)
    yield client.ask("DELETE", f"{path}/app")[0]
    found = client.ask("GET", f"{path}/app")[1]
    yield "deletionTimestamp" in found["metadata"]
    yield client.ask("PATCH", f"{path}/app", {"metadata": {"finalizers": None}}, MERGE)[0]
    yield client.ask("GET", f"{path}/app")
    yield client.ask("DELETE", f"{path}/app")


def rejections(client: PlainClient, namespace: str) -> Iterator[Any]:
    """Invalid requests."""
    path = f"{GROUP}/namespaces/{namespace}/secretproviderclasses"
    yield client.ask("POST", path, a_class())[0]
    for name in ("A_b", "x" * 254, "-a", "a."):
        yield client.ask("POST", path, a_class(name))
    yield client.ask("POST", path, a_class("b", namespace="other"))
    for value in ("x" * 64, "a b", "-a", 5):
        yield client.ask("POST", path, a_class("b", labels={"a": value}))[0]
    for missing in ("apiVersion", "kind", "name", "uid"):
        owner = {"apiVersion": "v1", "kind": "Pod", "name": "pod", "uid": "1", missing: ""}
        yield client.ask("POST", path, a_class("b", ownerReferences=[owner]))
    yield client.ask("POST", f"{GROUP}/secretproviderclasses", a_class("b"))[0]
    yield client.ask("POST", "/api/v1/secrets", a_secret())[0]
    yield client.ask("POST", path, a_secret())[0]
    yield client.ask("POST", path, "no JSON")[0]
    yield client.ask("PUT", f"{path}/app", a_class("b"))
    yield client.ask("PUT", f"{path}/none", a_class("none", resourceVersion="1"))
    yield client.ask("PATCH", f"{path}/none", {}, MERGE)
    yield client.ask("GET", f"{path}?labelSelector=a%20b")
    yield client.ask("GET", f"{path}?fieldSelector=x")
    yield client.ask("GET", f"{path}?limit=x")[0]


def secrets_and_events(client: PlainClient, namespace: str) -> Iterator[Any]:
    """The rules of these kinds."""
    path = f"/api/v1/namespaces/{namespace}/secrets"
    yield client.ask("POST", path, a_secret(stringData={"a": "b"}))
    yield client.ask("PATCH", f"{path}/s", {"type": "x"}, MERGE)
    yield client.ask("PATCH", f"{path}/s", {"data": {"a": "no base64"}}, MERGE)[0]
    yield client.ask("PATCH", f"{path}/s", {"data": {"a": None, "c": "ZA=="}}, MERGE)
    yield client.ask("PATCH", f"{path}/s", {"immutable": True}, MERGE)
    yield client.ask("PATCH", f"{path}/s", {"data": {"c": "ZQ=="}}, MERGE)
    yield client.ask("PATCH", f"{path}/s", {"immutable": None}, MERGE)
    yield client.ask("POST", path, a_secret("large", stringData={"a": "x" * (1024 * 1024 + 1)}))
    events = f"/api/v1/namespaces/{namespace}/events"
    yield client.ask("POST", events, an_event("good", namespace))[0]
    yield client.ask("POST", events, an_event("elsewhere", "default"))
    yield client.ask("PATCH", f"{events}/good", {"count": 2}, MERGE)[1]["count"]


def lists(client: PlainClient, namespace: str) -> Iterator[Any]:
    """Selectors, pages, and the form of items."""
    path = f"{GROUP}/namespaces/{namespace}/secretproviderclasses"
    for number in range(5):
        labels = {"n": str(number), "even": str(number % 2 == 0)}
        yield client.ask("POST", path, a_class(f"c{number}", labels=labels))[0]
    for selector in ("n%3D1", "n%20in%20(1,2),even", "even%3D%3DTrue,n!%3D0", "!n", "n%20notin%20(1,2,3)", "none!%3Dx"):
        yield client.ask("GET", f"{path}?labelSelector={selector}")
    for selector in ("metadata.name%3Dc3", "metadata.name!%3Dc3", f"metadata.namespace%3D{namespace}"):
        yield client.ask("GET", f"{path}?fieldSelector={selector}")
    yield client.ask("GET", path, None, PARTIAL_LIST)
    status, first = client.ask("GET", f"{path}?limit=2")
    yield status, first
    yield client.ask("DELETE", f"{path}/c4")[0]
    token = first["metadata"]["continue"]
    rest = client.ask("GET", f"{path}?limit=2&continue={token}")[1]
    yield [item["metadata"]["name"] for item in rest["items"]]
    yield rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    yield client.ask("DELETE", f"{path}?labelSelector=n%3D1")[0]
    yield client.ask("POST", f"/api/v1/namespaces/{namespace}/secrets", a_secret("typed"))[0]
    yield client.ask("GET", f"/api/v1/namespaces/{namespace}/secrets?fieldSelector=metadata.name%3Dtyped")
    yield client.ask("GET", "/apis/example.com/v1/things")[0] in (200, 404)  # the fake server knows any resource


def watches(client: PlainClient, namespace: str) -> Iterator[Any]:
    """Events with and without selectors, and the end by timeoutSeconds."""
    path = f"{GROUP}/namespaces/{namespace}/secretproviderclasses"
    start = client.ask("POST", path, a_class("before"))[1]["metadata"]["resourceVersion"]
    client.ask("POST", path, a_class("a", labels={"x": "y"}))
    client.ask("PATCH", f"{path}/a", {"metadata": {"labels": {"x": None}}}, MERGE)
    client.ask("DELETE", f"{path}/a")
    for query in ("", "labelSelector=x&", "fieldSelector=metadata.name%3Da&"):
        with client.watch(path, f"{query}resourceVersion={start}&timeoutSeconds=1", PARTIAL) as watch:
            while (event := watch.next())[0]:
                yield event
    with client.watch(path, "timeoutSeconds=1") as watch:
        yield watch.next()
    with client.watch(path, f"resourceVersion={start}&timeoutSeconds=1&fieldSelector=metadata.name%3Dbefore") as watch:
        yield watch.next()[0]
    yield client.ask("GET", f"{path}?watch=true&resourceVersion=x")[0]


@pytest.mark.parametrize("talk", [life, rejections, secrets_and_events, lists, watches])
def test_fake_and_real_server_agree(cluster: ControlPlane, namespace: str, talk: Talk) -> None:
    """The same calls to both servers → the same codes, reasons, objects and events, except for what each server
    generates."""
    admin = cluster.authority.client("tests-admin", ["system:masters"])
    context: ssl.SSLContext = cluster.client_context(admin)
    with FakeApi() as fake:
        answers = [_outlined(answer) for answer in talk(PlainClient(fake.url), namespace)]
    expected = [_outlined(answer) for answer in talk(PlainClient(cluster.url, context), namespace)]
    differences = [
        f"answer {number}: {found}, not {real}"
        for number, (found, real) in enumerate(zip(answers, expected, strict=True))
        if found != real
    ]
    assert not differences, "\n".join(differences)


def _outlined(answer: Any) -> Any:
    if isinstance(answer, tuple) and isinstance(answer[1], dict):
        return answer[0], outline(answer[1])
    return answer
