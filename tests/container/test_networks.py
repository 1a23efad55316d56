"""The whole container in each network that a cluster may have, with the addresses that the chart gives it."""

import asyncio
import json
from pathlib import Path

import pytest

from kubelet_stub.config import Config as KubeletConfig
from kubelet_stub.kubelet import KubeletStub
from provider_stub.running import running
from runtime.flags import Duration
from tests.cluster.pki import Authority
from tests.container.test_whole import DRIVER, SECRET, Container, pod
from tests.support.fake_api import FakeApi
from tests.support.fake_api_rig import FakeApiRig
from tests.support.http_client import fetch
from tests.support.networks import NETWORKS, Network, run_in
from tests.support.waiting import until_blocking

HEALTH, METRICS, REGISTRAR, STATUS = 9808, 8095, 9810, 9809
# As in helm/templates; the kernel gives each namespace ports of its own.
ADDRESSES = (
    f"--probe-http-endpoint=0.0.0.0:{HEALTH}",
    f"--metrics-addr=:{METRICS}",
    f"--registrar-http-endpoint=[::]:{REGISTRAR}",
    f"--status-endpoint=127.0.0.1:{STATUS}",
)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_network(network: Network, tmp_path: Path) -> None:
    """Scenario: an API server at an address of the network, kubelet, a provider. Expected: the driver is registered, a
    volume is published and its pod status is in the API server; at every address of the node the container is healthy
    and has metrics. The status pages are on 127.0.0.1: where that is missing, everything else works."""
    run_in(network, lambda: asyncio.run(_publish(network, tmp_path)))


async def _publish(network: Network, directory: Path) -> None:
    with FakeApi(Authority("cluster"), network.api) as api:
        rig = FakeApiRig(api, directory)
        home = directory / "node"
        made = Container(home, "--manifests=", f"--kubeconfig={rig.kubeconfig()}", *ADDRESSES)
        config = KubeletConfig(root=f"{home}/kubelet", republish_interval=Duration(0))
        try:
            async with running(home / "providers" / "stub.sock", home / "store"), KubeletStub(config) as kubelet:
                async with asyncio.timeout(60):
                    await kubelet.wait_registered(DRIVER)
                for address in network.addresses:
                    await _serves(network, address)
                rig.make_class(parameters={"objects": "- objectName: password"})
                asked = rig.make_pod("one")
                started = await kubelet.add_pod(pod("one", "app") | {"metadata": _metadata(asked.uid)})
                async with asyncio.timeout(60):
                    await kubelet.wait_mounted(started)
                (published,) = home.glob(f"kubelet/pods/{asked.uid}/volumes/*/*/mount/password")
                assert published.read_text() == SECRET
                await until_blocking(lambda: api.find(rig.status_path("one")), "the pod status")
                await kubelet.delete_pod(started)
            made.process.terminate()
            assert await asyncio.to_thread(made.process.wait, 30) == 0
        finally:
            made.kill()


async def _serves(network: Network, address: str) -> None:
    """Wait until the container answers at one address of the node."""

    def answers(port: int, path: str) -> bool:
        return fetch(port, path, host=address)[0] == 200

    await until_blocking(lambda: answers(HEALTH, "/readyz"), f"/readyz at {address}")
    await until_blocking(lambda: answers(METRICS, "/metrics"), f"the driver's metrics at {address}")
    await until_blocking(lambda: answers(REGISTRAR, "/healthz"), f"the registrar's health at {address}")
    if address == "127.0.0.1":
        status = json.loads(await asyncio.to_thread(lambda: fetch(STATUS, "/status", host=address)[1]))
        assert status["not_ready"] == []


def _metadata(uid: str) -> dict[str, str]:
    return {"name": "one", "namespace": "default", "uid": uid}
