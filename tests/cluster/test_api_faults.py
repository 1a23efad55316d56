"""An API server that misbehaves: the driver waits, obeys, finds its way back by itself, and pods keep their volumes."""

import asyncio
import datetime
import ssl
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import grpc
import pytest

from driver.cluster import classes
from driver.cluster.api import Api
from driver.cluster.gateway import ApiCluster
from driver.ports import ClassRef
from tests.cluster import kubeconfig
from tests.cluster.driving import ACCOUNT, Site, grant, until
from tests.cluster.faults import Answer, Drop, Fault, Silence, WatchError
from tests.cluster.proxy import FaultProxy
from tests.cluster.servers import ControlPlane
from tests.support.rig import NODE

ENTRY = {"secretName": "synced", "type": "Opaque", "data": [{"objectName": "password", "key": "pw"}]}


@pytest.fixture
def site(cluster: ControlPlane, namespace: str, tmp_path: Path) -> Site:
    """A namespace and a driver's account."""
    return Site(cluster, namespace, tmp_path)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """The test, in at most 90 seconds."""

    async def bounded() -> None:
        async with asyncio.timeout(90):
            await test()

    asyncio.run(bounded())


async def hears_of_changes(site: Site, cluster: ApiCluster) -> None:
    """A class in use is changed: the gateway has the new one soon."""
    ref = ClassRef(site.namespace, "app")
    await cluster.get_class(ref)
    mark = f"x{time.monotonic_ns()}"
    await asyncio.to_thread(site.make_class, parameters={"mark": mark})
    for _ in range(400):
        if (await cluster.get_class(ref)).parameters.get("mark") == mark:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the change was not heard of")


@pytest.mark.parametrize("fault", [
    Answer(429, retry_after=1), Answer(500), Answer(503), Answer(504), Drop(), Drop(done=True),
], ids=["429", "500", "503", "504", "dropped", "answer-lost"])
@pytest.mark.parametrize(
    "call", [("GET", r"/secretproviderclasses/app$"), ("POST", r"podstatuses$")], ids=["get", "post"])
def test_a_call_is_tried_again(site: Site, proxy: FaultProxy, call: tuple[str, str], fault: Fault) -> None:
    """The first two tries of one call fail: the publish waits inside its call and succeeds, a Retry-After is obeyed,
    and a write whose answer was lost is not made twice."""
    site.make_class()
    pod = site.make_pod()

    async def test() -> None:
        async with site.driver(proxy) as rig:
            rule = proxy.on(*call, fault, times=2)
            started = time.monotonic()
            await site.volume(rig, pod).publish()
            assert rule.hits == 2 or isinstance(fault, Drop) and fault.done and rule.hits
            if isinstance(fault, Answer) and fault.retry_after:
                assert time.monotonic() - started >= 2
            assert len(site.listed("secretproviderclasspodstatuses")) == 1

    run(test)


@pytest.mark.parametrize("verb, path", [("PATCH", r"/secrets/synced$"), ("POST", r"/secrets$")], ids=["patch", "post"])
def test_a_conflict_is_read_again(site: Site, proxy: FaultProxy, verb: str, path: str) -> None:
    """A write of a Secret is answered 409 three times: it is read again each time, and written."""
    site.make_class(secretObjects=[ENTRY])
    first, second = (site.make_pod(name, owners=[site.make_owner(name)]) for name in ("pod-1", "pod-2"))

    async def test() -> None:
        async with site.driver(proxy) as rig:
            rule = proxy.on(verb, path, Answer(409), times=3)
            await site.volume(rig, first).publish()
            await site.volume(rig, second).publish()

            def owners() -> int:
                secret = site.secret("synced")
                return len(secret["metadata"]["ownerReferences"]) if secret else 0

            await until(lambda: owners() == 2, "both owners")
            assert rule.hits == 3 and not site.events("FailedToCreateSecret")

    run(test)


@pytest.mark.parametrize(
    "fault", [Answer(410), WatchError(410), WatchError(500), Answer(503), Answer(429, retry_after=1)],
    ids=["410", "410-event", "500-event", "503", "429"])
def test_a_watch_that_is_refused(site: Site, proxy: FaultProxy, fault: Fault) -> None:
    """The watch is refused three times, then works: changes are heard of, missed ones too."""
    site.make_class()

    async def test() -> None:
        rule = proxy.on("WATCH", r"secretproviderclasses$", fault, times=3)
        async with site.driver(proxy) as rig:
            assert isinstance(rig.driver.world.cluster, ApiCluster)
            await hears_of_changes(site, rig.driver.world.cluster)
            await until(lambda: rule.hits == 3, "all refusals")
            await hears_of_changes(site, rig.driver.world.cluster)

    run(test)


@pytest.mark.parametrize("silent", [Silence(), Silence(open_only=True)], ids=["all", "open-only"])
def test_a_watch_that_falls_silent(site: Site, proxy: FaultProxy, silent: Silence) -> None:
    """A firewall forgets the connection: after a while without a bookmark the watch is opened anew, and the change
    that happened meanwhile is known."""
    site.make_class()

    async def test() -> None:
        api = Api(site.kubeconfig(proxy))
        it = ApiCluster(api, NODE, idle_seconds=2.0)
        task = asyncio.create_task(it.run())
        try:
            await hears_of_changes(site, it)
            rule = proxy.on("WATCH", r"secretproviderclasses$", silent)
            if silent.open_only:
                await hears_of_changes(site, it)
            else:
                await asyncio.sleep(3)
            rule.lift()
            await hears_of_changes(site, it)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run(test)


def test_the_api_server_is_away(site: Site, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections are refused. A volume of a known class is refreshed in a few seconds all the same; a new one fails
    as UNAVAILABLE with a sentence, near its deadline. Back again, all converges: class, status, events, Secret."""
    monkeypatch.setattr(classes, "LAST_PAUSE", 2.0)
    site.make_class(secretObjects=[ENTRY])
    site.make_class("new")
    first, second = site.make_pod(), site.make_pod("pod-2")

    async def test() -> None:
        async with site.driver(proxy, enable_secret_rotation=True) as rig:
            volume = site.volume(rig, first)
            await volume.publish()
            with proxy.away():
                rig.provider.put("password", "new")
                state = rig.driver.volumes.get(str(volume.target))
                assert state is not None
                state.last_success = 1.0
                started = time.monotonic()
                await volume.publish()
                assert volume.read() == b"new" and time.monotonic() - started < 6 and state.failure is None
                started = time.monotonic()
                code, sentence = await site.volume(rig, second, provider_class="new").failure(timeout=4.0)
                assert code == grpc.StatusCode.UNAVAILABLE and "API server does not answer" in sentence
                assert time.monotonic() - started > 3
            await site.volume(rig, second, provider_class="new").publish()
            version = dict(state.objects)["password"]
            await until(
                lambda: site.api.get(site.status_path())["status"]["objects"][0]["version"] == version, "the status")
            await until(lambda: site.secret("synced"), "the Secret")
            await until(lambda: (site.secret("synced") or {}).get("data") == {"pw": "bmV3"}, "the Secret's new value")
            site.make_class(provider="other", secretObjects=[ENTRY])
            for _ in range(600):
                if (await rig.driver.world.cluster.get_class(ClassRef(site.namespace, "app"))).provider == "other":
                    break
                await asyncio.sleep(0.05)
            else:
                raise AssertionError("the watch did not come back")

    run(test)


def test_an_api_server_that_is_slow_to_come_up(site: Site, proxy: FaultProxy) -> None:
    """At boot the driver is there first: it serves CSI at once, a publish waits inside its call, and succeeds."""
    site.make_class()
    pod = site.make_pod()

    async def test() -> None:
        with proxy.away():
            started = time.monotonic()
            context = site.driver(proxy)
            rig = await context.__aenter__()
            assert time.monotonic() - started < 5
            publishing = asyncio.create_task(site.volume(rig, pod).publish())
            await asyncio.sleep(2)
            assert not publishing.done()
        try:
            await publishing
            assert site.volume(rig, pod).read() == b"s3cret"
        finally:
            await context.__aexit__(None, None, None)

    run(test)


def test_a_frozen_api_server(site: Site) -> None:
    """The real server is stopped for seconds, connections stay open: the publish waits and succeeds."""
    site.make_class()
    pod = site.make_pod()

    async def test() -> None:
        async with site.driver() as rig:
            await until(lambda: site.count(0).get(("watch", "secretproviderclasses")), "the watch to be open")
            with site.cluster.frozen():
                publishing = asyncio.create_task(site.volume(rig, pod).publish(timeout=60))
                await asyncio.sleep(2)
                assert not publishing.done()
            await publishing

    run(test)


def test_a_rotated_token(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pod: kubelet writes a new token and the old one dies at once; calls go on without a restart. The file may
    even be empty for a moment."""
    from kubernetes.aio.config import incluster_config

    from driver.cluster import transport

    site.make_class()
    site.make_class("other")
    directory = site.directory / "serviceaccount"
    host, port = site.cluster.url.removeprefix("https://").split(":")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    for module in (incluster_config, transport):
        monkeypatch.setattr(module, "SERVICE_TOKEN_FILENAME", str(directory / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(directory / "ca.crt"))
    secret = site.api.create({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": site.namespace, "name": "life"}})
    bound = {"apiVersion": "v1", "kind": "Secret", "name": "life", "uid": secret["metadata"]["uid"]}
    first = site.cluster.token(site.namespace, ACCOUNT, bound_to=bound)
    second = site.cluster.token(site.namespace, ACCOUNT)
    kubeconfig.write_pod_credentials(directory, site.cluster.ca, site.namespace, first)

    async def test() -> None:
        api = Api("")
        try:
            await api.call("GET", site.path("secretproviderclasses", "app"))
            site.api.delete(site.path("secrets", "life"))
            (directory / "token").write_text("")

            async def refused() -> None:
                while not api.last_error:
                    try:
                        async with asyncio.timeout(0.3):
                            await api.call("GET", site.path("secretproviderclasses", "app"))
                    except TimeoutError:
                        pass

            await refused()
            calling = asyncio.create_task(api.call("GET", site.path("secretproviderclasses", "other")))
            await asyncio.sleep(1)
            assert not calling.done()
            kubeconfig.write_pod_credentials(directory, site.cluster.ca, site.namespace, second)
            assert (await calling)["metadata"]["name"] == "other"
        finally:
            await api.close()

    run(test)


def test_an_expired_client_certificate(site: Site) -> None:
    """The kubeconfig's certificate has expired: calls wait; the file gets a new one, and they succeed."""
    site.make_class()
    path = site.directory / "kubeconfig"
    authority, group = site.cluster.authority, "rbac.authorization.k8s.io"
    grant(site.cluster, site.namespace, site.rules)
    expired = authority.client("late-driver", (), datetime.timedelta(minutes=-1))
    kubeconfig.write(path, site.cluster.url, site.cluster.ca, expired)
    site.api.apply({
        "apiVersion": f"{group}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": f"{site.namespace}-late"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": f"{site.namespace}-{ACCOUNT}"},
        "subjects": [{"kind": "User", "name": "late-driver", "apiGroup": group}]})

    async def test() -> None:
        api = Api(str(path))
        try:
            calling = asyncio.create_task(api.call("GET", site.path("secretproviderclasses", "app")))
            await asyncio.sleep(1)
            assert not calling.done() and api.last_error
            kubeconfig.write(path, site.cluster.url, site.cluster.ca, authority.client("late-driver"))
            assert (await calling)["metadata"]["name"] == "app"
        finally:
            await api.close()

    run(test)


def test_a_ca_without_key_usage(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.13 checks CAs strictly by default, as is forced here: the driver accepts what Go accepts."""
    site.make_class()
    original = ssl.create_default_context

    def strict(*arguments: Any, **options: Any) -> ssl.SSLContext:
        context = original(*arguments, **options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    with FaultProxy(site.cluster.url, site.cluster.client_context(), lax_ca=True) as proxy:
        monkeypatch.setattr(ssl, "create_default_context", strict)

        async def test() -> None:
            api = Api(site.kubeconfig(proxy))
            try:
                assert (await api.call("GET", site.path("secretproviderclasses", "app")))["kind"]
            finally:
                await api.close()

        run(test)
