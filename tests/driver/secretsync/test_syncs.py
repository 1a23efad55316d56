"""When the controller syncs, what it writes in which order, and what a failure does to the others."""

import asyncio
import json
import re
from functools import partial
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import PrivateFormat

from driver.cluster import secret_syncs
from driver.objects.secret_syncs import SyncRef
from driver.ports import INTERVAL_ANNOTATION
from driver.secretsync import away, fetching, reconciler, schedule, secret
from driver.secretsync.runs import OF_ONE_NAMESPACE
from provider_kit import File, MountReply, MountRequest, Provider, Unavailable
from provider_kit.testing import running as serving
from tests.driver.sync.test_tls import ED, pem
from tests.driver.sync.test_tls_forms import ISSUING, ISSUING_KEY, KEY, LEAF, SEC1, signed
from tests.support.fake_api import Answer, Object
from tests.support.secret_sync_rig import FakeSecretSyncRig
from tests.support.syncing import values
from tests.support.waiting import run_async, until, until_blocking

CREATED = ("SecretCreated", "CreateSuccessful")


def calls(rig: FakeSecretSyncRig, pattern: str) -> list[tuple[str, Any]]:
    """Path and body of the writes to paths that end so."""
    found = rig.server.calls.calls(
        where=lambda call: call.method == "PATCH" and re.search(pattern, call.path) is not None
    )
    return [(call.path, call.body) for call in found]


def test_the_status_comes_after_the_secret(rig: FakeSecretSyncRig) -> None:
    """A SecretSync is synced → its Secret is applied before its status says so, and no Secret is read."""
    rig.make_sync()

    async def test() -> None:
        async with rig.provider(), rig.controller():
            await rig.until_condition(*CREATED)
        written = [path.rpartition("/namespaces/default/")[2] for path, _ in calls(rig, r"secrets/app$|/status$")]
        assert written == ["secrets/app", "secrets/app", "secretsyncs/app/status"]  # whose it is, the write, the status
        found = rig.server.calls.calls(where=lambda call: call.resource == "secrets")
        assert {call.verb for call in found} == {"patch"}
        assert all("PartialObjectMetadata" in call.headers["Accept"] for call in found)
        assert {(call.query["fieldManager"], call.query.get("force")) for call in found} == {
            ("secrets-store-sync-controller", None)
        }

    run_async(test)


def test_a_list_that_expires(rig: FakeSecretSyncRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first list of the SecretSyncs takes so long that its second page is a 410 → it is made again from the start,
    and both are synced."""
    monkeypatch.setattr(secret_syncs, "PAGE", 1)
    for name in ("app", "other"):
        rig.make_sync(name)
    expired = rig.server.on("GET", "/secretsyncs$", Answer(410), times=1, where=lambda call: "continue" in call.query)

    async def test() -> None:
        async with rig.provider(), rig.controller():
            for name in ("app", "other"):
                await rig.until_condition(*CREATED, name)
        assert expired.hits == 1 and rig.server.calls.count()["list", "secretsyncs"] == 4

    run_async(test)


def test_everything_that_makes_a_sync_due(rig: FakeSecretSyncRig) -> None:
    """forceSynchronization, a changed class, a changed list of keys → each syncs at once, with the interval at 12 h;
    the status that the controller itself writes does not."""
    rig.make_sync()

    async def test() -> None:
        async with rig.provider() as stub, rig.controller():
            await rig.until_condition(*CREATED)
            assert stub.calls == 1
            rig.make_sync(forceSynchronization="1")
            await until(lambda: stub.calls == 2, "the forced sync")
            rig.make_class(parameters={"objects": "array:\n- |\n  objectName: password\n  objectAlias: other\n"})
            await until(lambda: stub.calls == 3, "the sync after the class")
            found = await rig.until_condition("SecretUpdated", "RemoteSecretStoreFetchFailed")
            assert "other" in found["message"] and "s3cret" not in found["message"]
            rig.make_sync(secret={"data": [{"sourcePath": "other", "targetKey": "pw2"}]})
            await rig.until_secret({"pw2": b"s3cret"})
            await rig.until_condition("SecretUpdated", "SecretUpToDate")
            assert rig.condition("SecretCreated")["status"] == "True" and stub.calls == 4
            await until_blocking(lambda: rig.events("SecretSynced"), "the event that it works again")

    run_async(test)


def test_each_has_its_own_clock(rig: FakeSecretSyncRig) -> None:
    """The class's annotation is 1 s, the flag's interval 12 h → the provider is asked again and again, but the Secret
    is written only when a value is new; a SecretSync of another class is not asked again."""
    rig.make_class(annotations={INTERVAL_ANNOTATION: "1s"})
    rig.make_class("slow")
    rig.make_sync()
    rig.make_sync("slow", secretProviderClassName="slow")

    async def test() -> None:
        async with rig.provider() as stub, rig.controller():
            await rig.until_condition(*CREATED)
            version, written = (rig.secret("app") or {})["metadata"]["resourceVersion"], rig.status()
            await stub.wait_for_calls(4)
            assert (rig.secret("app") or {})["metadata"]["resourceVersion"] == version
            for name in ("syncHash", "lastSuccessfulSyncTime"):
                assert rig.status()[name] == written[name]
            stub.put("password", "n3w")
            await rig.until_secret({"pw": b"n3w"})
            assert values(rig.secret("slow")) == {"pw": b"s3cret"}

    run_async(test)


def test_a_deleted_or_edited_secret_comes_back(rig: FakeSecretSyncRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody deletes the Secret, or edits a key of it → it is as it was, and the provider was asked for it."""
    monkeypatch.setattr(schedule, "CHECK_SECONDS", 0.1)
    monkeypatch.setattr(schedule, "RESTORE_SECONDS", 0.1)
    rig.make_sync()

    async def test() -> None:
        async with rig.provider() as stub, rig.controller():
            await rig.until_condition(*CREATED)
            rig.api.delete(rig.path("secrets", "app"))
            await rig.until_secret({"pw": b"s3cret"})
            await until(lambda: stub.calls == 2, "the second call")
            rig.api.patch(rig.path("secrets", "app"), {"data": {"pw": "eA=="}})
            await rig.until_secret({"pw": b"s3cret"})

    run_async(test)


class Store(Provider):
    """A provider whose store can be down, and can hang; counts the calls for each class."""

    def __init__(self) -> None:
        self.down: set[str] = set()
        self.seen: list[str] = []
        self.requests: list[MountRequest] = []
        self.hold: asyncio.Event | None = None

    async def mount(self, request: MountRequest) -> MountReply:
        """As the attributes say."""
        name = request.attributes["class"]
        self.seen.append(name)
        self.requests.append(request)
        if name in self.down:
            raise Unavailable("the store is down")
        if self.hold is not None:
            await self.hold.wait()
        return MountReply([] if name == "empty" else [File("password", b"s3cret")], {"password": "1"})


def test_a_store_that_is_down_is_left_alone(rig: FakeSecretSyncRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty SecretSyncs of a store that is down, and one of another → the other one is synced, each of the fifty is
    tried a few times at growing intervals, and all of them are synced when the store is up and the class is touched."""
    monkeypatch.setattr("driver.providers.pool.MAX_ATTEMPTS", 1)
    for name in ("down", "up"):
        rig.make_class(name, provider="store", parameters={"class": name})
    for number in range(50):
        rig.make_sync(f"app-{number}", secretProviderClassName="down")
    rig.make_sync("other", secretProviderClassName="up")
    store = Store()
    store.down.add("down")

    async def test() -> None:
        async with serving(store, rig.provider_dir / "store.sock"), rig.controller():
            await rig.until_condition(*CREATED, "other")
            await until(lambda: store.seen.count("down") >= 50, "an attempt for each")
            for number in range(50):
                await rig.until_condition("SecretCreated", "ProviderError", f"app-{number}")
            assert store.seen.count("down") < 100  # the first retry comes after 7 s at the earliest
            store.down.clear()
            rig.make_class("down", provider="store", parameters={"class": "down", "touched": "1"})
            for number in range(50):
                await rig.until_condition(*CREATED, f"app-{number}")

    run_async(test)


def test_a_provider_that_hangs_holds_up_nobody_else(rig: FakeSecretSyncRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """One provider does not answer, for more SecretSyncs than it has places → those of another are synced; the first
    ones say that the sync has begun."""
    monkeypatch.setattr(reconciler, "ANNOUNCE_SECONDS", 0.05)
    rig.make_class("slow", provider="store", parameters={"class": "slow"})
    for number in range(12):
        rig.make_sync(f"slow-{number}", secretProviderClassName="slow")
    rig.make_sync()
    store = Store()

    async def test() -> None:
        store.hold = asyncio.Event()
        async with serving(store, rig.provider_dir / "store.sock"), rig.provider(), rig.controller():
            await rig.until_condition(*CREATED)
            await until(lambda: len(store.seen) == OF_ONE_NAMESPACE, "as many calls as it has places")
            started = [name for name in range(12) if rig.status(f"slow-{name}")]
            found = await rig.until_condition("SecretCreated", "SyncStarting", f"slow-{started[0] if started else 0}")
            assert found["status"] == "Unknown"
            store.hold.set()
            for number in range(12):
                await rig.until_condition(*CREATED, f"slow-{number}")

    run_async(test)


def test_a_provider_that_is_back(rig: FakeSecretSyncRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider is installed after its SecretSyncs have failed, and later restarts → they are synced at once, however
    long their back-off is; one that fails for another reason waits."""
    monkeypatch.setattr(away, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(schedule, "FIRST", 3600.0)
    monkeypatch.setattr(schedule, "LAST", 3600.0)
    monkeypatch.setattr("driver.providers.pool.MAX_ATTEMPTS", 1)
    monkeypatch.setattr(fetching, "MOUNT_SECONDS", 0.5)
    rig.make_class("down", provider="store", parameters={"class": "down"})
    rig.make_sync()
    rig.make_sync("down", secretProviderClassName="down")
    store = Store()
    store.down.add("down")

    async def test() -> None:
        async with serving(store, rig.provider_dir / "store.sock"), rig.controller():
            await rig.until_condition("SecretCreated", "SecretProviderClassMisconfigured")
            await rig.until_condition("SecretCreated", "ProviderError", "down")
            async with rig.provider():
                await rig.until_condition(*CREATED)
            rig.make_sync(forceSynchronization="1")
            await rig.until_condition("SecretUpdated", "ProviderError")
            async with rig.provider():
                await rig.until_condition("SecretUpdated", "SecretUpToDate")
            assert store.seen == ["down"]

    run_async(test)


def test_deleted_while_it_is_synced(rig: FakeSecretSyncRig) -> None:
    """A SecretSync is deleted while its provider is called, and made again → the first sync ends without harm, and the
    second one is synced; a class that nobody uses any more is forgotten."""
    rig.make_class("slow", provider="store", parameters={"class": "slow"})
    rig.make_sync("slow", secretProviderClassName="slow")
    store = Store()

    async def test() -> None:
        store.hold = asyncio.Event()
        async with serving(store, rig.provider_dir / "store.sock"), rig.controller():
            await until(lambda: len(store.seen) == 1, "the call")
            rig.api.delete(rig.sync_path("slow"))
            rig.make_sync("slow", secretProviderClassName="slow")
            await until(lambda: len(store.seen) == 2, "the call for the second one")
            store.hold.set()
            await rig.until_condition(*CREATED, "slow")
            owner = (rig.secret("slow") or {})["metadata"]["ownerReferences"][0]["uid"]
            assert owner == rig.api.get(rig.sync_path("slow"))["metadata"]["uid"]

    run_async(test)


@pytest.mark.parametrize(
    "case, reason, text",
    [
        ({"class": "none"}, "SecretProviderClassMisconfigured", 'failed to get SecretProviderClass "none": '),
        ({"provider": ""}, "SecretProviderClassMisconfigured", "provider not set: set spec.provider"),
        ({"provider": "absent"}, "SecretProviderClassMisconfigured", "absent"),
        ({"path": "nothing"}, "RemoteSecretStoreFetchFailed", "file matching sourcePath nothing not found"),
        ({"class": "empty"}, "ProviderError", "replied without files"),
        ({"label": "secrets-store.sync.x-k8s.io/x"}, "InvalidClusterSecretLabelError", "reserved: remove it"),
        ({"annotation": "secrets-store.sync.x-k8s.io"}, "InvalidClusterSecretAnnotationError", "reserved: remove it"),
        ({"type": "kubernetes.io/tls"}, "RemoteSecretStoreFetchFailed", "fetching secrets from the provider failed: "),
    ],
    ids=[
        "no class",
        "no provider",
        "absent provider",
        "no file",
        "no files",
        "label",
        "annotation",
        "not a certificate",
    ],
)
def test_failures(rig: FakeSecretSyncRig, case: dict[str, str], reason: str, text: str) -> None:
    """Each failure is its official condition and an event, and nothing is written."""
    rig.make_class("empty", provider="store", parameters={"class": "empty"})
    rig.make_class("with", provider=case.get("provider", "stub"))
    wanted: Object = {"data": [{"sourcePath": case.get("path", "password"), "targetKey": "tls.key"}]}
    wanted |= {f"{what}s": {case[what]: "x"} for what in ("label", "annotation") if what in case}
    wanted |= {"type": case["type"]} if "type" in case else {}
    rig.make_sync(secretProviderClassName=case.get("class", "with"), secret=wanted)

    async def test() -> None:
        async with serving(Store(), rig.provider_dir / "store.sock"), rig.provider(), rig.controller():
            found = await rig.until_condition("SecretCreated", reason)
            assert text in found["message"] and found["status"] == "False" and "s3cret" not in found["message"]
            assert rig.secret("app") is None and not rig.status().get("syncHash")
            await until_blocking(lambda: rig.events(reason), "the event")

    run_async(test)


@pytest.mark.parametrize("owned", [False, True])
def test_a_secret_that_exists(rig: FakeSecretSyncRig, owned: bool) -> None:
    """A Secret of that name is there: somebody else's is left alone, and the condition says what to do; one that the
    SecretSync owns, made by the official controller, is taken over, and its syncHash replaced."""
    made = rig.make_sync()
    metadata: Object = {"namespace": rig.namespace, "name": "app"}
    if owned:
        rig.api.patch(rig.sync_path(), {"status": {"syncHash": "v1:00"}})
        owner = {"apiVersion": made["apiVersion"], "kind": "SecretSync", "name": "app", "uid": made["metadata"]["uid"]}
        metadata |= {"labels": {"secrets-store.sync.x-k8s.io": ""}, "ownerReferences": [owner]}
    before = rig.api.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"pw": "old"}})

    async def test() -> None:
        async with rig.provider(), rig.controller():
            if owned:
                after = await rig.until_secret({"pw": b"s3cret"})
                assert after["metadata"]["uid"] == before["metadata"]["uid"]
                await rig.until_condition("SecretUpdated", "SecretUpToDate")
                assert rig.status()["syncHash"].startswith("rv1:")
            else:
                found = await rig.until_condition("SecretCreated", "ControllerPatchError")
                assert found["message"].startswith('failed to patch secret "app": ') and "delete it" in found["message"]
                assert rig.secret("app") == before

    run_async(test)


REFUSALS = {
    "a policy": Answer(403, message="secrets is forbidden: by a policy", reason="Forbidden"),
    "a webhook that is away": Answer(500, message='Internal error occurred: failed calling webhook "w.example": EOF'),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_write_that_is_refused(rig: FakeSecretSyncRig, refusal: Answer) -> None:
    """The API server refuses the write with a text, and for a while the status, too → the condition has the text."""
    rig.make_sync()
    rig.server.on("PATCH", r"/secrets/app$", refusal)
    rig.server.on("PATCH", r"/status$", Answer(409), times=1)

    async def test() -> None:
        async with rig.provider(), rig.controller():
            await until_blocking(lambda: calls(rig, "/status$"), "the status that is refused")
            rig.make_sync(forceSynchronization="1")
            found = await rig.until_condition("SecretCreated", "ControllerPatchError")
            assert refusal.message in found["message"]

    run_async(test)


def test_tokens(rig: FakeSecretSyncRig) -> None:
    """Two audiences → the provider gets a token of the service account for each, as kubelet sends them, and says whose
    pod it is; a second sync uses the same tokens; one that cannot be had is a ControllerSyncError."""
    issued: list[str] = []

    def token(request: Object) -> Object:
        (audience,) = request["spec"]["audiences"]
        issued.append(audience)
        assert request["spec"]["expirationSeconds"] == 600
        return {"token": f"token-for-{audience}", "expirationTimestamp": "2100-01-01T00:00:00Z"}

    rig.server.resources.reviewers["serviceaccounts/token"] = token
    rig.server.on("POST", r"/serviceaccounts/nobody/token$", Answer(404, message="not found"))
    rig.make_sync(serviceAccountName="app")

    async def test() -> None:
        async with rig.provider() as stub, rig.controller(token_request_audience=("a", "b")):
            await rig.until_condition(*CREATED)
            assert stub.last_request is not None
            attributes = stub.last_request.attributes
            tokens = json.loads(attributes["csi.storage.k8s.io/serviceAccount.tokens"])
            assert {name: item["token"] for name, item in tokens.items()} == {"a": "token-for-a", "b": "token-for-b"}
            assert attributes["csi.storage.k8s.io/serviceAccount.name"] == "app"
            assert attributes["csi.storage.k8s.io/pod.namespace"] == rig.namespace
            rig.make_sync(serviceAccountName="app", forceSynchronization="1")
            await stub.wait_for_calls(2)
            assert issued == ["a", "b"]
            rig.make_sync("nobody", serviceAccountName="nobody")
            found = await rig.until_condition("SecretCreated", "ControllerSyncError", "nobody")
            assert "does not exist: create it" in found["message"]

    run_async(test)


def test_the_call(rig: FakeSecretSyncRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync → the provider is called as for a volume: the class's parameters, the controller as the pod, no secrets,
    the driver's permission, no versions, and a target path. What of the class has no effect is an event each."""
    monkeypatch.setenv("SYNC_CONTROLLER_POD_NAME", "controller-1")
    monkeypatch.setenv("SYNC_CONTROLLER_POD_UID", "uid-1")
    parameters = {"class": "app", "csi.storage.k8s.io/pod.name": "forged", "csi.storage.k8s.io/ephemeral": "true"}
    rig.make_class("with", provider="store", parameters=parameters, annotations={INTERVAL_ANNOTATION: "5 minutes"})
    rig.make_sync(secretProviderClassName="with", serviceAccountName="web")
    store = Store()

    async def test() -> None:
        async with serving(store, rig.provider_dir / "store.sock"), rig.controller():
            await rig.until_condition(*CREATED)
            (request,) = store.requests
            assert request.attributes == {
                "class": "app",
                "csi.storage.k8s.io/pod.name": "controller-1",
                "csi.storage.k8s.io/pod.uid": "uid-1",
                "csi.storage.k8s.io/pod.namespace": rig.namespace,
                "csi.storage.k8s.io/serviceAccount.name": "web",
            }
            assert (request.secrets, request.current_versions, request.permission) == ({}, {}, 0o644)
            assert request.target_path.startswith("/")
            for reason, text in (("ReservedParameter", "pod.name"), ("InvalidInterval", "a duration such as 2m")):
                (event,) = await until_blocking(partial(rig.events, reason), reason)
                assert text in event["message"] and event["type"] == "Warning"

    run_async(test)


def test_other_controllers_objects(rig: FakeSecretSyncRig) -> None:
    """A SecretSync names another controller → it is left alone, until it names this one; one that is not any more this
    one's is left as it is."""
    rig.make_sync(secretSyncControllerName="other")
    rig.make_sync("mine")

    async def test() -> None:
        async with rig.provider() as stub, rig.controller():
            await rig.until_condition(*CREATED, "mine")
            assert rig.secret("app") is None and not rig.status()
            rig.make_sync()
            await rig.until_condition(*CREATED)
            seen = stub.calls
            rig.make_sync(secretSyncControllerName="other")
            rig.make_sync("mine", forceSynchronization="1")
            await stub.wait_for_calls(seen + 1)
            assert stub.calls == seen + 1

    run_async(test)


def test_a_watch_that_was_away(rig: FakeSecretSyncRig) -> None:
    """SecretSyncs are made and deleted while the watch is down and its history lost → the list afterwards says so."""
    rig.make_sync("first")
    rig.make_sync("second")

    async def test() -> None:
        async with rig.provider(), rig.controller():
            for name in ("first", "second"):
                await rig.until_condition(*CREATED, name)
            with rig.server.away():
                rig.api.delete(rig.sync_path("first"))
                rig.make_sync("third")
                rig.server.store.compact()
            await rig.until_condition(*CREATED, "third")
            assert rig.secret("first") is None

    run_async(test)


def test_a_bug_ends_one_sync_only(rig: FakeSecretSyncRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Building a Secret ends with a bug → the controller goes on with the others."""
    build = secret.build

    def broken(sync: Any, data: Any) -> Object:
        assert sync.ref != SyncRef("default", "bad"), "a bug"
        return build(sync, data)

    monkeypatch.setattr(secret, "build", broken)
    rig.make_sync("bad")

    async def test() -> None:
        async with rig.provider() as stub, rig.controller():
            await stub.wait_for_calls(1)
            rig.make_sync("good")
            await rig.until_condition(*CREATED, "good")
            assert rig.secret("bad") is None

    run_async(test)


def test_a_certificate_and_its_chain(rig: FakeSecretSyncRig) -> None:
    """Key, issuer and certificate are stored in one object, in the wrong order → tls.crt begins with the certificate,
    followed by its issuer, and tls.key has the key, of a kind that is neither RSA nor EC."""
    rig.make_class(parameters={"objects": "array:\n- |\n  objectName: pair\n- |\n  objectName: ed\n"})
    for name, source in (("chain", "pair"), ("ed25519", "ed")):
        keys = [{"sourcePath": source, "targetKey": key} for key in ("tls.crt", "tls.key")]
        rig.make_sync(name, secret={"type": "kubernetes.io/tls", "data": keys})
    ed_pem, certificate = pem(ED, PrivateFormat.PKCS8), signed("ed", ED, "issuing", ISSUING_KEY)

    async def test() -> None:
        async with rig.provider() as stub:
            stub.put("pair", KEY + ISSUING + LEAF)
            stub.put("ed", certificate + ed_pem)
            async with rig.controller():
                await rig.until_secret({"tls.crt": LEAF + ISSUING, "tls.key": SEC1}, "chain")
                await rig.until_secret({"tls.crt": certificate, "tls.key": ed_pem}, "ed25519")

    run_async(test)
