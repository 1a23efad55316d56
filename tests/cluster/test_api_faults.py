"""An API server that misbehaves: the driver waits, obeys, finds its way back by itself, and pods keep their volumes."""

import asyncio
import logging
import time
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from driver.cluster import class_store, statuses
from driver.cluster.api import Api
from driver.cluster.gateway import ApiCluster
from driver.ports import ClassRef
from tests.cluster.proxy import FaultProxy
from tests.cluster.rig import ClusterRig
from tests.cluster.servers import ControlPlane
from tests.cluster.syncing import ENTRY, run
from tests.support.fake_api.faults import Answer, Drop, Fault, Page, Silence, WatchError
from tests.support.rig import NODE
from tests.support.waiting import until_blocking


@pytest.fixture
def cluster_rig(cluster: ControlPlane, namespace: str, tmp_path: Path) -> ClusterRig:
    """A namespace and a driver's account."""
    return ClusterRig(cluster, namespace, tmp_path)


async def hears_of_changes(cluster_rig: ClusterRig, cluster: ApiCluster) -> None:
    """A class in use is changed: the gateway has the new one soon."""
    class_ref = ClassRef(cluster_rig.namespace, "app")
    await cluster.get_class(class_ref)
    mark = f"x{time.monotonic_ns()}"
    await asyncio.to_thread(cluster_rig.make_class, parameters={"mark": mark})
    for _ in range(400):
        if (await cluster.get_class(class_ref)).parameters.get("mark") == mark:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the change was not heard of")


@pytest.mark.parametrize(
    "fault",
    [
        Answer(429, retry_after=1),
        Answer(500),
        Answer(503),
        Answer(504),
        Page(),
        Drop(),
        Drop(done=True),
    ],
    ids=["429", "500", "503", "504", "no-json", "dropped", "answer-lost"],
)
@pytest.mark.parametrize(
    "call", [("GET", r"/secretproviderclasses/app$"), ("POST", r"podstatuses$")], ids=["get", "post"]
)
def test_a_call_is_tried_again(cluster_rig: ClusterRig, proxy: FaultProxy, call: tuple[str, str], fault: Fault) -> None:
    """The first two tries of one call fail: the publish waits inside its call and succeeds, a Retry-After is obeyed,
    and a write whose answer was lost is not made twice."""
    cluster_rig.make_class()
    pod = cluster_rig.make_pod()

    async def test() -> None:
        async with cluster_rig.driver(proxy) as rig:
            rule = proxy.on(*call, fault, times=2)
            started = time.monotonic()
            await cluster_rig.volume(rig, pod).publish()
            assert rule.hits == 2 or isinstance(fault, Drop) and fault.done and rule.hits
            if isinstance(fault, Answer) and fault.retry_after:
                assert time.monotonic() - started >= 2
            assert len(cluster_rig.listed("secretproviderclasspodstatuses")) == 1

    run(test)


@pytest.mark.parametrize("verb, path", [("PATCH", r"/secrets/synced$"), ("POST", r"/secrets$")], ids=["patch", "post"])
def test_a_conflict_is_read_again(cluster_rig: ClusterRig, proxy: FaultProxy, verb: str, path: str) -> None:
    """A write of a Secret is answered 409 three times: it is read again each time, and written."""
    cluster_rig.make_class(secretObjects=[ENTRY])
    first, second = (cluster_rig.make_pod(name, owners=[cluster_rig.make_owner(name)]) for name in ("pod-1", "pod-2"))

    async def test() -> None:
        async with cluster_rig.driver(proxy) as rig:
            rule = proxy.on(verb, path, Answer(409), times=3)
            await cluster_rig.volume(rig, first).publish()
            await cluster_rig.volume(rig, second).publish()

            def owners() -> int:
                secret = cluster_rig.secret("synced")
                return len(secret["metadata"]["ownerReferences"]) if secret else 0

            await until_blocking(lambda: owners() == 2, "both owners")
            assert rule.hits == 3 and not cluster_rig.events("FailedToCreateSecret")

    run(test)


@pytest.mark.parametrize(
    "fault",
    [Answer(410), WatchError(410), WatchError(500), Answer(503), Answer(429, retry_after=1), Page()],
    ids=["410", "410-event", "500-event", "503", "429", "no-json"],
)
def test_a_watch_that_is_refused(cluster_rig: ClusterRig, proxy: FaultProxy, fault: Fault) -> None:
    """The watch is refused three times, then works: changes are heard of, missed ones too."""
    cluster_rig.make_class()

    async def test() -> None:
        rule = proxy.on("WATCH", r"secretproviderclasses$", fault, times=3)
        async with cluster_rig.driver(proxy) as rig:
            assert isinstance(rig.driver.backend.cluster, ApiCluster)
            await hears_of_changes(cluster_rig, rig.driver.backend.cluster)
            await until_blocking(lambda: rule.hits == 3, "all refusals")
            await hears_of_changes(cluster_rig, rig.driver.backend.cluster)

    run(test)


def test_a_watch_that_is_forbidden(
    cluster_rig: ClusterRig, proxy: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    """Rights that somebody wrote himself lack watch: one warning says what is missing, however often it is tried."""
    cluster_rig.make_class()

    async def test() -> None:
        rule = proxy.on("WATCH", r"secretproviderclasses$", Answer(403), times=3)
        async with cluster_rig.driver(proxy) as rig:
            assert isinstance(rig.driver.backend.cluster, ApiCluster)
            await until_blocking(lambda: rule.hits == 3, "all refusals")
            await hears_of_changes(cluster_rig, rig.driver.backend.cluster)

    with caplog.at_level(logging.WARNING):
        run(test)
    assert sum("needs get, list and watch" in record.getMessage() for record in caplog.records) == 1


def test_a_status_that_cannot_be_written(
    cluster_rig: ClusterRig, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two statuses are late; the server goes on failing for the first one: the second one is written all the same, and
    the first once that works."""
    monkeypatch.setattr(statuses, "WRITE_SECONDS", 0.2)
    monkeypatch.setattr(statuses, "RETRY_SECONDS", 0.5)
    pods = [cluster_rig.make_pod(name) for name in ("pod-1", "pod-2")]

    def version(pod: str) -> str:
        return str(cluster_rig.api.get(cluster_rig.status_path(pod))["status"]["objects"][0]["version"])

    async def test() -> None:
        it = ApiCluster(Api(cluster_rig.kubeconfig(proxy)), NODE)
        task = asyncio.create_task(it.run())
        try:
            for pod in pods:
                await it.record(cluster_rig.record(pod))
            rules = [proxy.on("PATCH", f"{pod.name}-", Answer(500)) for pod in pods]
            for pod in pods:
                await it.record(cluster_rig.record(pod, objects={"password": "v2"}))
            rules[1].lift()
            await until_blocking(lambda: version("pod-2") == "v2", "the second status")
            assert version("pod-1") == "v1"
            rules[0].lift()
            await until_blocking(lambda: version("pod-1") == "v2", "the first status")
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run(test)


def test_a_watch_that_breaks_goes_on_where_it_was(cluster_rig: ClusterRig, proxy: FaultProxy) -> None:
    """All connections are cut, as when one of several API servers goes: the watch goes on from its last event. What
    changed meanwhile is heard of; nothing is listed, and only the class that changed is read."""
    cluster_rig.make_class()
    cluster_rig.make_class("other")

    async def test() -> None:
        async with cluster_rig.driver(proxy) as rig:
            cluster = rig.driver.backend.cluster
            assert isinstance(cluster, ApiCluster)
            await cluster_rig.watch_open()
            await cluster.get_class(ClassRef(cluster_rig.namespace, "other"))
            await hears_of_changes(cluster_rig, cluster)
            mark = cluster_rig.cluster.audit.mark()
            proxy.disconnect()
            await hears_of_changes(cluster_rig, cluster)
            counted = cluster_rig.count(mark)
            assert counted.pop(("watch", "secretproviderclasses")) in (1, 2)  # the end of the old one is told, too
            assert counted == {("get", "secretproviderclasses"): 1}

    run(test)


@pytest.mark.parametrize("fault", [Answer(403), Answer(404)], ids=["403", "404"])
def test_without_the_version(cluster_rig: ClusterRig, proxy: FaultProxy, fault: Fault) -> None:
    """A cluster that tells its version only to some: that is what connections are opened with, and nothing hangs on
    it."""
    cluster_rig.make_class()

    async def test() -> None:
        rule = proxy.on("GET", r"^/version$", fault)
        async with cluster_rig.driver(proxy) as rig:
            assert isinstance(rig.driver.backend.cluster, ApiCluster)
            await until_blocking(lambda: rule.hits >= 8, "the questions")
            await hears_of_changes(cluster_rig, rig.driver.backend.cluster)

    run(test)


def test_an_api_server_that_does_not_know_our_rights_yet(cluster_rig: ClusterRig, proxy: FaultProxy) -> None:
    """The driver restarts together with the API server, which refuses its first questions: a volume that was there
    before is known again all the same, and its Secret comes back; rotation is off."""
    cluster_rig.make_class(secretObjects=[ENTRY])
    pod = cluster_rig.make_pod()

    async def test() -> None:
        async with cluster_rig.driver(proxy) as rig:
            await cluster_rig.volume(rig, pod).publish()
            await rig.stop()
            cluster_rig.api.delete(cluster_rig.path("secrets", "synced"))
            rule = proxy.on("GET", r"secretproviderclasspodstatuses$", Answer(403), times=2)
            await rig.start()
            await until_blocking(lambda: cluster_rig.secret("synced"), "the Secret to come back")
            assert rule.hits == 2

    run(test)


@pytest.mark.parametrize("silent", [Silence(), Silence(open_only=True)], ids=["all", "open-only"])
def test_a_watch_that_falls_silent(cluster_rig: ClusterRig, proxy: FaultProxy, silent: Silence) -> None:
    """A firewall forgets the connection: after a while without a bookmark the watch is opened anew, and the change
    that happened meanwhile is known."""
    cluster_rig.make_class()

    async def test() -> None:
        api = Api(cluster_rig.kubeconfig(proxy))
        it = ApiCluster(api, NODE, idle_seconds=2.0)
        task = asyncio.create_task(it.run())
        try:
            await hears_of_changes(cluster_rig, it)
            rule = proxy.on("WATCH", r"secretproviderclasses$", silent)
            if silent.open_only:
                await hears_of_changes(cluster_rig, it)
            else:
                await asyncio.sleep(3)
            rule.lift()
            await hears_of_changes(cluster_rig, it)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run(test)


def test_the_api_server_is_away(cluster_rig: ClusterRig, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections are refused. A volume of a known class is refreshed in a few seconds all the same; a new one fails
    as UNAVAILABLE with a sentence, near its deadline. Back again, all converges: class, status, events, Secret."""
    monkeypatch.setattr(class_store, "LAST_PAUSE", 2.0)
    cluster_rig.make_class(secretObjects=[ENTRY])
    cluster_rig.make_class("new")
    first, second = cluster_rig.make_pod(), cluster_rig.make_pod("pod-2")

    async def test() -> None:
        async with cluster_rig.driver(proxy, enable_secret_rotation=True) as rig:
            volume = cluster_rig.volume(rig, first)
            await volume.publish()
            with proxy.away():
                rig.provider.put("password", "new")
                state = rig.driver.volumes.get(str(volume.target))
                assert state is not None
                state.last_refresh = 1.0
                started = time.monotonic()
                await volume.publish()
                assert volume.read() == b"new" and time.monotonic() - started < 6 and state.failure is None
                started = time.monotonic()
                code, sentence = await cluster_rig.volume(rig, second, class_name="new").failure(timeout=4.0)
                assert code == grpc.StatusCode.UNAVAILABLE and "API server does not answer" in sentence
                assert time.monotonic() - started > 3
            await cluster_rig.volume(rig, second, class_name="new").publish()
            version = dict(state.objects)["password"]
            await until_blocking(
                lambda: cluster_rig.api.get(cluster_rig.status_path())["status"]["objects"][0]["version"] == version,
                "the status",
            )
            await until_blocking(lambda: cluster_rig.secret("synced"), "the Secret")
            await until_blocking(
                lambda: (cluster_rig.secret("synced") or {}).get("data") == {"pw": "bmV3"}, "the Secret's new value"
            )
            cluster_rig.make_class(provider="other", secretObjects=[ENTRY])
            for _ in range(600):
                if (
                    await rig.driver.backend.cluster.get_class(ClassRef(cluster_rig.namespace, "app"))
                ).provider == "other":
                    break
                await asyncio.sleep(0.05)
            else:
                raise AssertionError("the watch did not come back")

    run(test)


def test_an_api_server_that_is_slow_to_come_up(cluster_rig: ClusterRig, proxy: FaultProxy) -> None:
    """At boot the driver is there first: it serves CSI at once, a publish waits inside its call, and succeeds."""
    cluster_rig.make_class()
    pod = cluster_rig.make_pod()

    async def test() -> None:
        with proxy.away():
            started = time.monotonic()
            context = cluster_rig.driver(proxy)
            rig = await context.__aenter__()
            assert time.monotonic() - started < 5
            publishing = asyncio.create_task(cluster_rig.volume(rig, pod).publish())
            await asyncio.sleep(2)
            assert not publishing.done()
        try:
            await publishing
            assert cluster_rig.volume(rig, pod).read() == b"s3cret"
        finally:
            await context.__aexit__(None, None, None)

    run(test)


def test_a_real_api_server_that_starts(cluster_rig: ClusterRig) -> None:
    """The real server is started while a publish waits for it; for a moment it refuses everything, as it has not read
    the roles yet: the publish succeeds, and its Secret is there without an event."""
    cluster_rig.make_class(secretObjects=[ENTRY])
    pod = cluster_rig.make_pod()
    path = cluster_rig.kubeconfig()

    async def test() -> None:
        with ExitStack() as outage:
            outage.enter_context(cluster_rig.cluster.outage())
            async with cluster_rig.driver(kubeconfig=path) as rig:
                publishing = asyncio.create_task(cluster_rig.volume(rig, pod).publish(timeout=60))
                await asyncio.sleep(1)
                starting = asyncio.create_task(asyncio.to_thread(outage.close))
                await publishing
                await starting
                await until_blocking(lambda: cluster_rig.secret("synced"), "the Secret")
                assert cluster_rig.events() == []

    run(test)


def test_a_refusal_just_after_an_outage(cluster_rig: ClusterRig, proxy: FaultProxy) -> None:
    """As above, made sure of: the server is back and says 403 three times. The publish waits on, and succeeds."""
    cluster_rig.make_class()
    pod = cluster_rig.make_pod()

    async def test() -> None:
        async with cluster_rig.driver(proxy) as rig:
            with proxy.away():
                publishing = asyncio.create_task(cluster_rig.volume(rig, pod).publish())
                await asyncio.sleep(0.5)
                rule = proxy.on("GET", r"/secretproviderclasses/app$", Answer(403), times=3)
            await publishing
            assert rule.hits == 3

    run(test)


def test_a_frozen_api_server(cluster_rig: ClusterRig) -> None:
    """The real server is stopped for seconds, connections stay open: the publish waits and succeeds."""
    cluster_rig.make_class()
    pod = cluster_rig.make_pod()

    async def test() -> None:
        async with cluster_rig.driver() as rig:
            await cluster_rig.watch_open()
            with cluster_rig.cluster.frozen():
                publishing = asyncio.create_task(cluster_rig.volume(rig, pod).publish(timeout=60))
                await asyncio.sleep(2)
                assert not publishing.done()
            await publishing

    run(test)
