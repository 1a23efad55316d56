"""An API server that misbehaves: the driver retries, obeys Retry-After, recovers by itself, and pods keep their
volumes."""

import asyncio
import logging
import time
from contextlib import ExitStack

import grpc
import pytest

from driver.cluster import follow
from driver.cluster.api import Api
from driver.cluster.gateway import ApiCluster
from driver.cluster.statuses import store as statuses
from driver.ports import ClassRef
from driver.sync import ledger
from tests.cluster.attempts import Attempts
from tests.cluster.proxy import FaultProxy
from tests.cluster.rig import ClusterRig, until_class
from tests.support.background import run_background
from tests.support.fake_api.faults import Answer, Drop, Fault, Page, Silence, WatchError
from tests.support.rig import DRIVER, NODE
from tests.support.syncing import ENTRY
from tests.support.waiting import run_async, until, until_blocking


async def check_changes_arrive(cluster_rig: ClusterRig, cluster: ApiCluster) -> None:
    """Change a class that is in use, and wait until the driver has the new one."""
    class_ref = ClassRef(cluster_rig.namespace, "app")
    await cluster.get_class(class_ref)
    mark = f"x{time.monotonic_ns()}"
    await asyncio.to_thread(cluster_rig.make_class, parameters={"mark": mark})
    await until_class(cluster, class_ref, lambda found: found.parameters.get("mark") == mark)


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
    ids=["429", "500", "503", "504", "not-json", "dropped", "response-lost"],
)
@pytest.mark.parametrize(
    "call", [("GET", r"/secretproviderclasses/app$"), ("POST", r"podstatuses$")], ids=["get", "post"]
)
def test_a_call_is_retried(cluster_rig: ClusterRig, proxy: FaultProxy, call: tuple[str, str], fault: Fault) -> None:
    """The first two attempts of a call fail → the publish retries and succeeds, Retry-After is obeyed, and a write
    whose response was lost is not repeated."""
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

    run_async(test)


@pytest.mark.parametrize("verb, path", [("PATCH", r"/secrets/synced$"), ("POST", r"/secrets$")], ids=["patch", "post"])
def test_conflicts(cluster_rig: ClusterRig, proxy: FaultProxy, verb: str, path: str) -> None:
    """Writing a Secret fails with 409 three times → it is read again each time, and written."""
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

    run_async(test)


@pytest.mark.parametrize(
    "fault",
    [Answer(410), WatchError(410), WatchError(500), Answer(503), Answer(429, retry_after=1), Page()],
    ids=["410", "410-event", "500-event", "503", "429", "not-json"],
)
def test_refused_watch(cluster_rig: ClusterRig, proxy: FaultProxy, fault: Fault) -> None:
    """The watch is refused three times, then works → changes arrive, missed ones too."""
    cluster_rig.make_class()

    async def test() -> None:
        rule = proxy.on("WATCH", r"secretproviderclasses$", fault, times=3)
        async with cluster_rig.driver(proxy) as rig:
            assert isinstance(rig.driver.backend.cluster, ApiCluster)
            await check_changes_arrive(cluster_rig, rig.driver.backend.cluster)
            await until_blocking(lambda: rule.hits == 3, "all refusals")
            await check_changes_arrive(cluster_rig, rig.driver.backend.cluster)

    run_async(test)


def test_forbidden_watch(cluster_rig: ClusterRig, proxy: FaultProxy, caplog: pytest.LogCaptureFixture) -> None:
    """A role written by hand lacks the verb watch → one warning says what is missing, however often it is tried."""
    cluster_rig.make_class()

    async def test() -> None:
        rule = proxy.on("WATCH", r"secretproviderclasses$", Answer(403), times=3)
        async with cluster_rig.driver(proxy) as rig:
            assert isinstance(rig.driver.backend.cluster, ApiCluster)
            await until_blocking(lambda: rule.hits == 3, "all refusals")
            await check_changes_arrive(cluster_rig, rig.driver.backend.cluster)

    with caplog.at_level(logging.WARNING):
        run_async(test)
    assert sum("needs get, list and watch" in record.getMessage() for record in caplog.records) == 1


def test_unwritable_status(cluster_rig: ClusterRig, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pod statuses are to be written and the server keeps failing for the first → the second is written, and the
    first once the server accepts it."""
    monkeypatch.setattr(statuses, "WRITE_SECONDS", 0.2)
    monkeypatch.setattr(statuses, "RETRY_SECONDS", 0.5)
    pods = [cluster_rig.make_pod(name) for name in ("pod-1", "pod-2")]

    def version(pod: str) -> str:
        return str(cluster_rig.api.get(cluster_rig.status_path(pod))["status"]["objects"][0]["version"])

    async def test() -> None:
        it = ApiCluster(Api(cluster_rig.kubeconfig(proxy)), NODE, DRIVER)
        task = asyncio.create_task(run_background(it))
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

    run_async(test)


def test_broken_watch(cluster_rig: ClusterRig, proxy: FaultProxy) -> None:
    """All connections are cut, as when one of several API servers ends → the watch resumes at its last event: changes
    arrive, nothing is listed, and only the class that changed is read."""
    cluster_rig.make_class()
    cluster_rig.make_class("other")

    async def test() -> None:
        async with cluster_rig.driver(proxy) as rig:
            cluster = rig.driver.backend.cluster
            assert isinstance(cluster, ApiCluster)
            await cluster_rig.watch_open()
            await cluster.get_class(ClassRef(cluster_rig.namespace, "other"))
            await check_changes_arrive(cluster_rig, cluster)
            mark = cluster_rig.cluster.audit.mark()
            proxy.disconnect()
            await check_changes_arrive(cluster_rig, cluster)
            counted = cluster_rig.count(mark)
            assert counted.pop(("watch", "secretproviderclasses")) in (1, 2)  # the end of the old one is logged, too
            assert counted == {("get", "secretproviderclasses"): 1}

    run_async(test)


@pytest.mark.parametrize("fault", [Answer(403), Answer(404)], ids=["403", "404"])
def test_hidden_version(cluster_rig: ClusterRig, proxy: FaultProxy, fault: Fault) -> None:
    """A cluster refuses /version, with which connections are opened ahead → changes still arrive."""
    cluster_rig.make_class()

    async def test() -> None:
        rule = proxy.on("GET", r"^/version$", fault)
        async with cluster_rig.driver(proxy) as rig:
            assert isinstance(rig.driver.backend.cluster, ApiCluster)
            await until_blocking(lambda: rule.hits >= 8, "the requests")
            await check_changes_arrive(cluster_rig, rig.driver.backend.cluster)

    run_async(test)


def test_rights_that_are_not_known_yet(cluster_rig: ClusterRig, proxy: FaultProxy) -> None:
    """The driver restarts together with the API server, which refuses its first requests; rotation is off → an existing
    volume of the Go driver is known again and its Secret comes back."""
    cluster_rig.make_class(secretObjects=[ENTRY])
    pod = cluster_rig.make_pod()

    async def test() -> None:
        async with cluster_rig.driver(proxy) as rig:
            volume = cluster_rig.volume(rig, pod)
            await volume.publish()
            await rig.stop()
            volume.remove_record()
            cluster_rig.api.delete(cluster_rig.path("secrets", "synced"))
            rule = proxy.on("GET", r"secretproviderclasspodstatuses$", Answer(403), times=2)
            await rig.start()
            await until_blocking(lambda: cluster_rig.secret("synced"), "the Secret to come back")
            assert rule.hits == 2

    run_async(test)


@pytest.mark.parametrize("silent", [Silence(), Silence(open_only=True)], ids=["all", "open-only"])
def test_silent_watch(cluster_rig: ClusterRig, proxy: FaultProxy, silent: Silence) -> None:
    """A firewall drops the connection silently → after ``idle_seconds`` without a bookmark the watch is reopened, and
    changes of the meantime arrive."""
    cluster_rig.make_class()

    async def test() -> None:
        api = Api(cluster_rig.kubeconfig(proxy))
        it = ApiCluster(api, NODE, DRIVER, idle_seconds=2.0)
        task = asyncio.create_task(run_background(it))
        try:
            await check_changes_arrive(cluster_rig, it)
            rule = proxy.on("WATCH", r"secretproviderclasses$", silent)
            if silent.open_only:
                await check_changes_arrive(cluster_rig, it)
            else:
                await until(lambda: rule.hits >= 1, "the watch to be reopened")
            rule.lift()
            await check_changes_arrive(cluster_rig, it)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run_async(test)


def test_outage(cluster_rig: ClusterRig, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections are refused → a volume of a known class is still refreshed within seconds, a new class fails with
    UNAVAILABLE near its deadline. The API server is back → class, pod status and Secret are brought up to date."""
    monkeypatch.setattr(follow, "LAST_PAUSE", 2.0)
    # The two fetches are less than a second apart, which the API server's clock cannot tell.
    monkeypatch.setattr(ledger, "FRESH_SECONDS", 60.0)
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
                state.refreshed_at = None
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
            class_ref = ClassRef(cluster_rig.namespace, "app")
            await until_class(rig.driver.backend.cluster, class_ref, lambda found: found.provider == "other")

    run_async(test)


def test_api_server_starts_after_the_driver(cluster_rig: ClusterRig, proxy: FaultProxy, attempts: Attempts) -> None:
    """At boot the driver starts before the API server → it serves CSI at once; a publish waits inside its call and
    succeeds."""
    cluster_rig.make_class()
    pod = cluster_rig.make_pod()

    async def test() -> None:
        with proxy.away():
            started = time.monotonic()
            context = cluster_rig.driver(proxy)
            rig = await context.__aenter__()
            assert time.monotonic() - started < 5
            publishing = asyncio.create_task(cluster_rig.volume(rig, pod).publish())
            await attempts.more(3, "/secretproviderclasses/app")
            assert not publishing.done()
        try:
            await publishing
            assert cluster_rig.volume(rig, pod).read() == b"s3cret"
        finally:
            await context.__aexit__(None, None, None)

    run_async(test)


def test_real_api_server_starts(cluster_rig: ClusterRig, attempts: Attempts) -> None:
    """The API server starts while a publish waits for it, and for a moment refuses everything, because it has not read
    the roles yet → the publish succeeds and its Secret is created, without an event."""
    cluster_rig.make_class(secretObjects=[ENTRY])
    pod = cluster_rig.make_pod()
    path = cluster_rig.kubeconfig()

    async def test() -> None:
        with ExitStack() as outage:
            outage.enter_context(cluster_rig.cluster.outage())
            async with cluster_rig.driver(kubeconfig=path) as rig:
                publishing = asyncio.create_task(cluster_rig.volume(rig, pod).publish(timeout=60))
                await attempts.more(2, "/secretproviderclasses/app")
                starting = asyncio.create_task(asyncio.to_thread(outage.close))
                await publishing
                await starting
                await until_blocking(lambda: cluster_rig.secret("synced"), "the Secret")
                assert cluster_rig.events() == []

    run_async(test)


def test_refusals_just_after_an_outage(cluster_rig: ClusterRig, proxy: FaultProxy, attempts: Attempts) -> None:
    """After an outage the API server answers 403 three times → the publish goes on waiting and succeeds."""
    cluster_rig.make_class()
    pod = cluster_rig.make_pod()

    async def test() -> None:
        async with cluster_rig.driver(proxy) as rig:
            with proxy.away():
                publishing = asyncio.create_task(cluster_rig.volume(rig, pod).publish())
                await attempts.more(1, "/secretproviderclasses/app")
                rule = proxy.on("GET", r"/secretproviderclasses/app$", Answer(403), times=3)
            await publishing
            assert rule.hits == 3

    run_async(test)


def test_frozen_api_server(cluster_rig: ClusterRig, attempts: Attempts) -> None:
    """The API server hangs with its connections open → a publish waits; it goes on → the publish succeeds."""
    cluster_rig.make_class()
    pod = cluster_rig.make_pod()

    async def test() -> None:
        async with cluster_rig.driver() as rig:
            await cluster_rig.watch_open()
            with cluster_rig.cluster.frozen():
                publishing = asyncio.create_task(cluster_rig.volume(rig, pod).publish(timeout=60))
                await attempts.more(1, "/secretproviderclasses/app")
                assert not publishing.done()
            await publishing

    run_async(test)
