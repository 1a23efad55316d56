"""A whole driver with an API server: its objects, the number of its calls, and what it restores after a restart."""

import asyncio
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from driver.cluster.network import CONNECTIONS
from driver.ports import ClassRef
from driver.sync import engine
from tests.cluster import kubeconfig
from tests.cluster.pki import Authority
from tests.support.fake_api_rig import FakeApiRig, fake_api_rig
from tests.support.waiting import until

ENTRY = {"secretName": "synced", "type": "Opaque", "data": [{"objectName": "password", "key": "pw"}]}
CLASSES, STATUSES = "secretproviderclasses", "secretproviderclasspodstatuses"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[FakeApiRig]:
    """A fake cluster."""
    with fake_api_rig(tmp_path) as made:
        yield made


def value(here: FakeApiRig) -> bytes | None:
    """The content of the synced Secret."""
    secret = here.secret("synced")
    return None if secret is None else b64decode(secret["data"]["pw"])


def test_publish_with_a_secret(here: FakeApiRig) -> None:
    """The first publish → the file, a pod status, and a Secret owned by it, with one call for each. Publish again → no
    call."""
    here.make_class(secretObjects=[ENTRY])
    pod = here.make_pod()

    async def run() -> None:
        async with here.driver() as rig:
            await here.watch_open()
            mark = here.server.calls.mark()
            volume = here.volume(rig, pod)
            await volume.publish()
            assert volume.read() == b"s3cret" and value(here) == b"s3cret"
            status = here.api.get(here.status_path())
            assert status["status"]["mounted"] is True and status["status"]["targetPath"] == str(volume.target)
            assert status["metadata"]["ownerReferences"][0]["uid"] == pod.uid
            secret = here.secret("synced")
            assert secret is not None
            (owner,) = secret["metadata"]["ownerReferences"]
            assert (owner["kind"], owner["uid"]) == ("SecretProviderClassPodStatus", status["metadata"]["uid"])
            expected = {
                ("get", CLASSES): 1,
                ("create", STATUSES): 1,
                ("get", "secrets"): 1,
                ("get", "pods"): 1,
                ("create", "secrets"): 1,
            }
            assert here.count(mark) == expected
            await volume.publish()
            assert here.count(mark) == expected
            agents = {call.user_agent for call in here.server.calls.calls()}
            assert len(agents) == 1 and agents.pop().startswith("csi-secrets-store/controller/")

    asyncio.run(run())


def test_publish_over_tls(tmp_path: Path) -> None:
    """The API server speaks TLS and requires a token; its certificate and the token are replaced → publishes before and
    after succeed."""
    first, second = Authority("first"), Authority("second")

    async def run(here: FakeApiRig) -> None:
        async with here.driver() as rig:
            await here.volume(rig, here.make_pod("pod-1")).publish()
            here.server.tokens = {"new": "driver"}
            here.server.present(second.server(["127.0.0.1"]))
            here.server.disconnect()
            kubeconfig.write(tmp_path / "kubeconfig", here.server.url, second.pem, "new")
            here.make_class("other")
            volume = here.volume(rig, here.make_pod("pod-2"), class_name="other")
            await volume.publish()
            assert volume.read() == b"s3cret" and len(here.listed(STATUSES)) == 2

    with fake_api_rig(tmp_path, first) as here:
        here.server.tokens = {"token": "driver"}
        here.make_class()
        asyncio.run(run(here))


def test_class_changes(here: FakeApiRig) -> None:
    """The class gets secretObjects and a refresh annotation while in use → the Secret is created, the next publish
    fetches again, and only this class is read."""
    here.make_class()
    here.make_class("other")
    pod = here.make_pod()

    async def run() -> None:
        async with here.driver(enable_secret_rotation=True) as rig:
            await here.watch_open()
            volume = here.volume(rig, pod)
            await volume.publish()
            rig.provider.put("password", "new")
            mark = here.server.calls.mark()
            here.make_class(secretObjects=[ENTRY], annotations={"secrets-store.csi.k8s.io/refresh": "1"})
            here.make_class("other", provider="none")
            await until(lambda: value(here), "the Secret")
            await volume.publish()
            assert volume.read() == b"new"
            await until(lambda: value(here) == b"new", "the Secret's new value")
            assert here.count(mark)["get", CLASSES] == 1

    asyncio.run(run())


def test_restart(here: FakeApiRig) -> None:
    """Restart the driver → it knows whose the volume is without a call, its Secret is recreated, an empty PATCH reads
    the UID of the pod status that owns it, and nothing else is written. Delete the pod → status and Secret are
    collected."""
    here.make_class(secretObjects=[ENTRY])
    pod = here.make_pod()

    async def run() -> None:
        async with here.driver() as rig:
            volume = here.volume(rig, pod)
            await volume.publish()
            await rig.stop()
            here.api.delete(here.path("secrets", "synced"))
            mark = here.server.calls.mark()
            await rig.start()
            (known,) = rig.driver.volumes
            assert (known.pod, str(known.target.path)) == (pod, str(volume.target))
            await until(lambda: value(here) == b"s3cret", "the Secret to come back")
            await volume.publish()
            counted = here.count(mark)
            assert counted["list", STATUSES] == counted["create", STATUSES] == 0
            patches = [call.body for call in here.server.calls.calls(mark) if call.verb == "patch"]
            assert counted["patch", STATUSES] == 1 and [body for body in patches if body != {}] == []
            await volume.unpublish()
            here.api.delete(here.path("pods", pod.name))
            assert here.secret("synced") is None and here.listed(STATUSES) == []

    asyncio.run(run())


def test_what_a_restart_asks_for(here: FakeApiRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Restart with volumes of two classes, one with a Secret → each class is read once, after the watch has begun, and
    no connections are opened ahead; a new node opens all of them."""
    monkeypatch.setattr(engine, "RESTART_SPREAD", 0.5)
    monkeypatch.setattr(engine, "random", SimpleNamespace(uniform=lambda _, high: high))
    here.make_class(secretObjects=[ENTRY])
    here.make_class("plain")

    async def run() -> None:
        async with here.driver() as rig:
            await until(lambda: here.server.calls.count()["get", "/version"] == CONNECTIONS, "the connections")
            await here.volume(rig, here.make_pod("pod-1")).publish()
            await here.volume(rig, here.make_pod("pod-2"), class_name="plain").publish()
            await rig.stop()
            mark = here.server.calls.mark()
            await rig.start()
            expected = {
                ("list", CLASSES): 1,
                ("watch", CLASSES): 1,
                ("get", CLASSES): 2,
                ("get", "secrets"): 1,
                ("get", "pods"): 1,
                ("patch", STATUSES): 1,
            }
            await until(lambda: expected.keys() <= here.server.calls.count(mark).keys(), "a call of each kind")
            await until(lambda: here.server.calls.count(mark)["get", CLASSES] > 1, "both classes")
            assert here.server.calls.count(mark) == expected
            verbs = [(call.verb, call.resource) for call in here.server.calls.calls(mark)]
            assert verbs[:2] == [("list", CLASSES), ("watch", CLASSES)]

    asyncio.run(run())


def test_class_does_not_exist(here: FakeApiRig) -> None:
    """Publish with a class that does not exist → an error that says so; nothing is mounted or written. Create it → the
    next publish succeeds."""
    pod = here.make_pod()

    async def run() -> None:
        async with here.driver() as rig:
            volume = here.volume(rig, pod)
            _, sentence = await volume.failure()
            assert 'SecretProviderClass.secrets-store.csi.x-k8s.io "app" not found' in sentence
            assert not volume.mounted and here.listed(STATUSES) == []
            here.make_class()
            await volume.publish()
            assert volume.read() == b"s3cret"
            assert rig.driver.volumes.uses(ClassRef("default", "app"))

    asyncio.run(run())
