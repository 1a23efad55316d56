"""The fake API server, called over plain HTTP and not through the driver's client."""

import http.client
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from tests.cluster.pki import Authority
from tests.support.fake_api import Answer, ApiError, Drop, FakeApi, HalfAnswer, LateAnswer, Page, Silence, WatchError
from tests.support.plain_client import MERGE, PARTIAL, PlainClient, Watch, a_class, a_secret
from tests.support.waiting import wait_until

CLASSES = "/apis/secrets-store.csi.x-k8s.io/v1/namespaces/default/secretproviderclasses"
SECRETS = "/api/v1/namespaces/default/secrets"


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """A server for one test."""
    with FakeApi() as running:
        yield running


@pytest.fixture
def client(api: FakeApi) -> PlainClient:
    """A client of the server."""
    return PlainClient(api.url)


@pytest.fixture
def watching(client: PlainClient) -> Iterator[Any]:
    """Opens watches of the classes, which end with the test."""
    with ExitStack() as opened:

        def watch(query: str = "", **headers: str) -> Watch:
            return opened.enter_context(client.watch(CLASSES, query, headers))

        yield watch


def test_life_of_an_object(api: FakeApi, client: PlainClient) -> None:
    """POST, GET, PUT, PATCH, DELETE → the server's fields are set and kept, versions increase, and an equal write
    changes nothing."""
    status, made = client.ask("POST", CLASSES, a_class(uid="mine", resourceVersion="77"))
    metadata = made["metadata"]
    assert status == 201 and metadata["uid"] != "mine" and metadata["namespace"] == "default"
    assert metadata["generation"] == 1 and metadata["creationTimestamp"].endswith("Z")
    assert client.ask("GET", f"{CLASSES}/app") == (200, made)
    changed = {**made, "spec": {"provider": "other"}, "metadata": {"name": "app", "labels": {"a": "b"}}}
    status, replaced = client.ask("PUT", f"{CLASSES}/app", changed)
    assert status == 200 and replaced["metadata"]["uid"] == metadata["uid"] and replaced["metadata"]["generation"] == 2
    assert int(replaced["metadata"]["resourceVersion"]) > int(metadata["resourceVersion"])
    patch = {"metadata": {"labels": {"a": None, "c": "d"}, "uid": None}, "spec": {"parameters": {"x": "y"}}}
    status, patched = client.ask("PATCH", f"{CLASSES}/app", patch, MERGE)
    assert patched["metadata"]["labels"] == {"c": "d"} and patched["metadata"]["uid"] == metadata["uid"]
    assert patched["spec"] == {"provider": "other", "parameters": {"x": "y"}}
    assert client.ask("PATCH", f"{CLASSES}/app", {}, MERGE) == (200, patched)
    assert client.ask("DELETE", f"{CLASSES}/app")[0] == 200
    assert client.ask("GET", f"{CLASSES}/app")[1]["reason"] == "NotFound"


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "expected"),
    [
        ("POST", CLASSES, a_class(), None, (409, "AlreadyExists")),
        ("POST", CLASSES, a_class("A_b"), None, (422, "Invalid")),
        ("POST", CLASSES, a_class("x" * 254), None, (422, "Invalid")),
        ("POST", CLASSES, a_class("b", namespace="other"), None, (400, "BadRequest")),
        ("POST", CLASSES, a_class("b", labels={"a": "x" * 64}), None, (422, "Invalid")),
        ("POST", CLASSES, a_class("b", ownerReferences=[{"kind": "Pod"}]), None, (422, "Invalid")),
        ("POST", CLASSES.replace("/namespaces/default", ""), a_class("b"), None, (404, "NotFound")),
        ("POST", SECRETS.replace("/namespaces/default", ""), a_secret(), None, (405, "MethodNotAllowed")),
        ("POST", CLASSES, a_secret(), None, (400, "BadRequest")),
        ("POST", CLASSES, "no JSON", None, (400, "BadRequest")),
        ("POST", f"{CLASSES}/app", a_class(), None, (405, "MethodNotAllowed")),
        ("GET", f"{CLASSES}/none", None, None, (404, "NotFound")),
        ("GET", "/apis/x", None, None, (404, "NotFound")),
        ("GET", "/nothing", None, None, (404, "NotFound")),
        ("GET", f"{CLASSES}?labelSelector=a%20b", None, None, (400, "BadRequest")),
        ("PUT", f"{CLASSES}/app", a_class("b"), None, (400, "BadRequest")),
        ("PUT", f"{CLASSES}/app", a_class(resourceVersion="1"), None, (409, "Conflict")),
        ("PATCH", f"{CLASSES}/app", {"metadata": {"resourceVersion": "1"}}, MERGE, (409, "Conflict")),
        ("PATCH", f"{CLASSES}/app", {"metadata": {"uid": "other"}}, MERGE, (422, "Invalid")),
        (
            "PATCH",
            f"{CLASSES}/app",
            {},
            {"Content-Type": "application/strategic-merge-patch+json"},
            (415, "UnsupportedMediaType"),
        ),
        ("DELETE", f"{CLASSES}/app", {"preconditions": {"uid": "other"}}, None, (409, "Conflict")),
        ("DELETE", f"{CLASSES}/none", None, None, (404, "NotFound")),
    ],
)
def test_rejections(
    api: FakeApi, client: PlainClient, method: str, path: str, body: Any, headers: Any, expected: tuple[int, str]
) -> None:
    """An invalid request → the code and reason of the real server, and nothing changes."""
    api.create(a_class())
    before = api.store.version
    status, answer = client.ask(method, path, body, headers or {})
    assert (status, answer["code"], answer["reason"]) == (expected[0], *expected)
    assert api.store.version == before


def test_secrets_and_events(api: FakeApi, client: PlainClient) -> None:
    """Writes of Secrets and Events → stringData, immutable fields and an event's namespace are handled as by the real
    server."""
    made = client.ask("POST", SECRETS, a_secret(stringData={"a": "b"}))[1]
    assert (made["data"], made["type"]) == ({"a": "Yg=="}, "Opaque")
    assert client.ask("PATCH", f"{SECRETS}/s", {"type": "x"}, MERGE)[0] == 422
    assert client.ask("PATCH", f"{SECRETS}/s", {"data": {"a": "no base64"}}, MERGE)[0] == 422
    assert client.ask("PATCH", f"{SECRETS}/s", {"immutable": True}, MERGE)[0] == 200
    assert client.ask("PATCH", f"{SECRETS}/s", {"data": {"a": "Yw=="}}, MERGE)[0] == 422
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "involvedObject": {"namespace": "x"}}
    assert client.ask("POST", "/api/v1/namespaces/default/events", event)[0] == 422


def test_lists(api: FakeApi, client: PlainClient) -> None:
    """Lists with namespaces, selectors and pages → the selected items; all pages are of one moment, and items of
    built-in kinds are untyped."""
    for number in range(5):
        api.create(a_class(f"c{number}", labels={"n": str(number), "even": str(number % 2 == 0)}))
    api.create(a_class("c0", namespace="other"))

    def names(query: str, path: str = CLASSES) -> list[str]:
        return [item["metadata"]["name"] for item in client.ask("GET", f"{path}?{query}")[1]["items"]]

    assert names("") == ["c0", "c1", "c2", "c3", "c4"]
    assert names("", CLASSES.replace("/namespaces/default", "")) == ["c0", "c1", "c2", "c3", "c4", "c0"]
    assert names("labelSelector=n%3D1") == names("labelSelector=n%20in%20(1),even") == ["c1"]
    assert names("labelSelector=even%3DTrue,n!%3D0") == names(
        "fieldSelector=metadata.name!%3Dc0&labelSelector=even%3DTrue"
    )
    assert names("labelSelector=!n") == [] and names("fieldSelector=metadata.name%3Dc3") == ["c3"]
    first = client.ask("GET", f"{CLASSES}?limit=2")[1]
    assert first["metadata"]["remainingItemCount"] == 3 and first["kind"] == "SecretProviderClassList"
    api.delete(f"{CLASSES}/c4")
    token = first["metadata"]["continue"]
    rest = client.ask("GET", f"{CLASSES}?limit=5&continue={token}")[1]
    assert [item["metadata"]["name"] for item in rest["items"]] == ["c2", "c3", "c4"]
    assert rest["metadata"] == {"resourceVersion": first["metadata"]["resourceVersion"]}
    api.store.compact()
    assert client.ask("GET", f"{CLASSES}?continue={token}")[0] == 410
    api.create(a_secret())
    assert set(client.ask("GET", SECRETS)[1]["items"][0]) == {"metadata", "type"}


def test_metadata_only(api: FakeApi, client: PlainClient) -> None:
    """Accept asks for PartialObjectMetadata → an object, or a list, without spec."""
    api.create(a_class())
    one = client.ask("GET", f"{CLASSES}/app", headers=PARTIAL)[1]
    assert set(one) == {"kind", "apiVersion", "metadata"} and one["kind"] == "PartialObjectMetadata"
    found = client.ask("GET", CLASSES, headers={"Accept": PARTIAL["Accept"].replace("Metadata;", "MetadataList;")})[1]
    assert found["kind"] == "PartialObjectMetadataList" and found["items"] == [one]


def test_watch(api: FakeApi, watching: Any) -> None:
    """Watch from a version → former and new changes, bookmarks, events by selector, and the end by timeout."""
    start = api.create(a_class("before"))["metadata"]["resourceVersion"]
    api.create(a_class("a", labels={"x": "y"}))
    watch = watching(f"resourceVersion={start}&timeoutSeconds=60")
    chosen = watching(f"resourceVersion={start}&labelSelector=x", **PARTIAL)
    assert watch.next()[1]["metadata"]["name"] == "a"
    assert chosen.next()[1]["kind"] == "PartialObjectMetadata"
    api.patch(f"{CLASSES}/a", {"metadata": {"labels": {"x": None}}})
    assert watch.next()[0] == "MODIFIED" and chosen.next()[0] == "DELETED"
    api.delete(f"{CLASSES}/a")
    kind, gone = watch.next()
    assert kind == "DELETED" and int(gone["metadata"]["resourceVersion"]) == api.store.version
    api.send_bookmarks()
    kind, mark = watch.next()
    assert kind == "BOOKMARK" and int(mark["metadata"]["resourceVersion"]) == api.store.version
    api.end_watches()
    assert watch.next()[0] == ""
    assert watching("").next()[1]["metadata"]["name"] == "before"  # from "now": with what is there
    assert watching(f"resourceVersion={api.store.version}&timeoutSeconds=0").next()[0] == ""


def test_bookmarks(api: FakeApi, watching: Any) -> None:
    """A watch allows bookmarks → they arrive at an interval. It does not → none."""
    api.watches.bookmark_seconds = 0.01
    without = watching(f"resourceVersion={api.store.version}&timeoutSeconds=0.2")
    assert watching(f"resourceVersion={api.store.version}&allowWatchBookmarks=true").next()[0] == "BOOKMARK"
    assert without.next()[0] == ""


def test_expired_watch(api: FakeApi, watching: Any) -> None:
    """Watch from before a compaction → 200, an ERROR event with code 410, and the end."""
    start = api.create(a_class())["metadata"]["resourceVersion"]
    api.store.compact()
    watch = watching(f"resourceVersion={start}")
    kind, status = watch.next()
    assert kind == "ERROR" and (status["code"], status["reason"]) == (410, "Expired")
    assert watch.next()[0] == ""


def test_finalizers_and_owners(api: FakeApi) -> None:
    """Delete an object with a finalizer → it stays until the finalizer is removed. Delete the last of two owners →
    their dependent is deleted."""
    uids = [api.create(a_class(name, finalizers=["a/b"]))["metadata"]["uid"] for name in ("one", "two")]
    references = [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": uid} for uid in uids]
    api.create({**a_secret(), "metadata": {"name": "s", "ownerReferences": references}})
    for name in ("one", "two"):
        api.delete(f"{CLASSES}/{name}")
        assert api.get(f"{CLASSES}/{name}")["metadata"]["deletionTimestamp"]
        assert api.find(f"{SECRETS}/s") is not None
        api.patch(f"{CLASSES}/{name}", {"metadata": {"finalizers": None}})
        assert api.find(f"{CLASSES}/{name}") is None
    assert api.find(f"{SECRETS}/s") is None


def test_delete_collection(api: FakeApi, client: PlainClient) -> None:
    """DELETE of a collection with a selector → only the selected objects are deleted."""
    for name in ("a", "b"):
        api.create(a_class(name, labels={"n": name}))
    gone = client.ask("DELETE", f"{CLASSES}?labelSelector=n%3Da")[1]
    assert [item["metadata"]["name"] for item in gone["items"]] == ["a"]
    assert [item["metadata"]["name"] for item in api.get(CLASSES)["items"]] == ["b"]


def test_status_subresource(api: FakeApi, client: PlainClient) -> None:
    """PATCH the status subresource → only the status changes. Another subresource → 404."""
    api.create(a_class())
    patched = client.ask("PATCH", f"{CLASSES}/app/status", {"spec": {"provider": "x"}, "status": {"a": 1}}, MERGE)[1]
    assert (patched["spec"], patched["status"]) == ({"provider": "stub"}, {"a": 1})
    assert client.ask("PATCH", f"{CLASSES}/app/scale", {"spec": 1}, MERGE)[0] == 404


def test_tokens(api: FakeApi, client: PlainClient) -> None:
    """Set the accepted tokens → other calls get a 401; a TokenReview returns the user and is not stored."""
    assert client.ask("GET", "/version")[0] == 200
    api.tokens = {"good": "system:serviceaccount:x:y"}
    assert (
        client.ask("GET", "/version")[0]
        == client.ask("GET", "/version", None, {"Authorization": "Bearer bad"})[0]
        == 401
    )
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "good"}}
    path = "/apis/authentication.k8s.io/v1/tokenreviews"
    headers = {"Authorization": "bearer good"}
    assert client.ask("POST", path, review, headers)[1]["status"]["user"]["username"] == "system:serviceaccount:x:y"
    assert client.ask("POST", path, {**review, "spec": {}}, headers)[1]["status"]["authenticated"] is False
    assert api.get(path)["items"] == []


def test_admission(api: FakeApi, client: PlainClient) -> None:
    """A test adds a rule for a resource → it changes or rejects the writes of this resource only."""

    def rule(admission: Any) -> None:
        if admission.target.name == "no":
            raise ApiError(403, 'admission webhook "x" denied the request')
        admission.item["spec"].pop("provider")

    api.admit("secretproviderclasses", rule)
    assert client.ask("POST", CLASSES, a_class("no"))[1]["reason"] == "Forbidden"
    assert client.ask("POST", CLASSES, a_class())[1]["spec"] == {}
    assert client.ask("POST", SECRETS, a_secret("no"))[0] == 201


def test_log_of_calls(api: FakeApi, client: PlainClient) -> None:
    """Some calls → the log has verb, resource, body, user agent and status; a mark excludes former calls."""
    client.ask("POST", CLASSES, a_class(), {"User-Agent": "somebody"})
    mark = api.calls.mark()
    client.ask("GET", f"{CLASSES}/none")
    client.ask("GET", CLASSES)
    client.ask("GET", "/version")
    (first,) = api.calls.calls(where=lambda call: call.verb == "create")
    assert (first.user_agent, first.status, first.body["kind"]) == ("somebody", 201, "SecretProviderClass")
    resource = "secretproviderclasses"
    assert api.calls.count(mark) == {("get", resource): 1, ("list", resource): 1, ("get", "/version"): 1}


def test_faults(api: FakeApi, client: PlainClient) -> None:
    """Add a rule for each fault → it strikes the matching calls, as often as it says, and no others."""
    rule = api.on("GET", "/version$", Answer(429, retry_after=3), times=2)
    assert [client.ask("GET", "/version")[0] for _ in range(3)] == [429, 429, 200] and rule.hits == 2
    api.on("GET", "/version", Answer(500), where=lambda call: call.user_agent == "x")
    assert (
        client.ask("GET", "/version")[0] == 200 and client.ask("GET", "/version", None, {"User-Agent": "x"})[0] == 500
    )
    api.on("*", "", Page(), times=1)
    assert client.ask("GET", "/version") == (200, Page().text)
    api.on("POST", "", Drop(), times=1)
    with pytest.raises(OSError):
        client.ask("POST", CLASSES, a_class())
    assert api.find(f"{CLASSES}/app") is None
    api.on("POST", "", Drop(done=True), times=1)
    with pytest.raises(OSError):
        client.ask("POST", CLASSES, a_class())
    assert api.find(f"{CLASSES}/app") is not None
    api.on("GET", "", HalfAnswer(), times=1)
    with pytest.raises((http.client.IncompleteRead, OSError)):
        client.ask("GET", CLASSES)
    assert [call.status for call in api.calls.calls()][-4:] == [200, 0, 0, 0]


def test_late_answer(api: FakeApi, client: PlainClient) -> None:
    """The answer is late → the object is there before the client knows."""
    rule = api.on("POST", "", LateAnswer(), times=1)
    with ThreadPoolExecutor(1) as thread:
        late = thread.submit(client.ask, "POST", CLASSES, a_class())
        wait_until(lambda: api.find(f"{CLASSES}/app"), "the class")
        assert not late.done()
        rule.lift()
        assert late.result()[0] == 201


def test_faults_of_watches(api: FakeApi, watching: Any) -> None:
    """Faults of watches: an ERROR event, half a line, silence of open watches only, cut connections → the effects
    described in the README."""
    start = f"resourceVersion={api.store.version}"
    api.on("WATCH", "", WatchError(500), times=1)
    assert watching(start).next()[1]["code"] == 500
    api.on("WATCH", "", HalfAnswer(), times=1)
    with pytest.raises((ValueError, http.client.IncompleteRead, OSError)):
        watching(start).next()
    old = watching(start)
    wait_until(lambda: len(api.watches) == 1, "the watch to be open")
    rule = api.on("WATCH", "", Silence(open_only=True))
    api.create(a_class())
    assert watching(start).next()[0] == "ADDED"
    rule.lift()
    assert old.next()[0] == "ADDED"
    api.disconnect()
    wait_until(lambda: len(api.watches) == 0, "the watches to end")


def test_away(api: FakeApi, client: PlainClient) -> None:
    """The server is away → connections are refused; afterwards it is available at the same address."""
    address = api.url
    with api.away(), pytest.raises(ConnectionError):
        client.ask("GET", "/version")
    assert client.ask("GET", "/version")[0] == 200 and api.url == address


def test_tls() -> None:
    """Serve TLS, and change the certificate → clients must trust its CA from the next handshake on."""
    ours, other = Authority("ours"), Authority("other")

    def asked(api: FakeApi, authority: Authority) -> int:
        context = ssl.create_default_context(cadata=authority.pem.decode())
        connection = http.client.HTTPSConnection(api.url.removeprefix("https://"), context=context, timeout=10)
        try:
            connection.request("GET", "/version")
            return connection.getresponse().status
        finally:
            connection.close()

    with FakeApi(ours) as api:
        assert asked(api, ours) == 200
        api.present(other.server(["127.0.0.1"]))
        with pytest.raises(ssl.SSLCertVerificationError):
            asked(api, ours)
        assert asked(api, other) == 200
