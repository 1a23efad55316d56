"""``rest_client_requests_total``: the driver's requests to the API server, with client-go's name and labels."""

import asyncio
import contextlib
from pathlib import Path
from urllib.parse import urlsplit

from driver.cluster.api import MERGE_PATCH, Api
from driver.metrics import DriverMetrics
from runtime.errors import NotFound
from tests.support.fake_api import Answer, Drop, FakeApi
from tests.support.fake_api_rig import fake_api_rig
from tests.support.waiting import run_async

PODS = "/api/v1/namespaces/default/pods"
NAME = "rest_client_requests_total"


def test_each_request_is_counted(server: FakeApi, tmp_path: Path) -> None:
    """Answers with success, with an error, a retried 503, a lost connection and a watch → one each by status, method
    and host; what has no answer is ``<error>``."""
    metrics = DriverMetrics([])
    kubeconfig = server.kubeconfig(tmp_path / "kubeconfig")
    server.on("POST", "", Answer(503), times=2)
    server.on("PATCH", "", Drop(), times=1)

    async def test() -> None:
        api = Api(kubeconfig, metrics.api.requested)
        try:
            async with asyncio.timeout(20):
                pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "default"}, "spec": {}}
                await api.call("POST", PODS, body=pod)
                await api.call("GET", f"{PODS}/a")
                with contextlib.suppress(NotFound):
                    await api.call("GET", f"{PODS}/b")
                version = str(server.store.version)
                await api.call(
                    "PATCH", f"{PODS}/a", body={"metadata": {"labels": {"a": "b"}}}, content_type=MERGE_PATCH
                )
                watch = api.watch(PODS, {"watch": "true", "resourceVersion": version}, "application/json")
                await anext(watch)
                await watch.aclose()
        finally:
            await api.close()

    run_async(test)
    host = urlsplit(server.url).netloc

    def count(code: str, method: str) -> float | None:
        return metrics.registry.get_sample_value(NAME, {"code": code, "method": method, "host": host})

    assert (count("503", "POST"), count("201", "POST")) == (2, 1)
    assert (count("200", "GET"), count("404", "GET")) == (2, 1)
    assert (count("<error>", "PATCH"), count("200", "PATCH")) == (1, 1)


def test_a_whole_driver_counts(tmp_path: Path) -> None:
    """A driver publishes a volume → its /metrics has the requests that the server got."""

    async def test() -> None:
        with fake_api_rig(tmp_path) as here:
            here.make_class()
            pod = here.make_pod()
            async with here.driver() as rig:
                await here.volume(rig, pod).publish()
                got = sum(1 for call in here.server.calls.calls() if call.method == "POST")
                labels = {"code": "201", "method": "POST", "host": urlsplit(here.server.url).netloc}
                assert got and rig.driver.metrics.registry.get_sample_value(NAME, labels) == got

    run_async(test)
