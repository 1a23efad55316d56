"""The fault storm before a real API server: it is killed and stopped, and a proxy before it answers wrongly."""

import asyncio
import logging
import signal
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cluster import kubeconfig
from tests.cluster.proxy import FaultProxy
from tests.cluster.rig import ACCOUNT, BASE_RULES, SYNC_RULES, grant
from tests.cluster.servers import ControlPlane
from tests.faults.storm.api_process import strike_calls
from tests.faults.storm.services import Admin, Object
from tests.faults.storm.storm import Options, run
from tests.faults.storm.world import NAMESPACE, World
from tests.support import needs

SECONDS, PER_SECOND = 30.0, 2.5
# The fake one has a history to compact at will.
NOT_HERE = ("api-compact",)


class RealServer:
    """Implements ``ApiServer`` for the control plane that all tests share, through a proxy of its own."""

    def __init__(self, cluster: ControlPlane, proxy: FaultProxy, made: World) -> None:
        self._cluster, self._proxy, self._counts = cluster, proxy, made.counts
        token = cluster.token(NAMESPACE, ACCOUNT)
        self.admin = Admin(cluster.url, cluster.client_context(cluster.authority.client("storm", ["system:masters"])))
        self.kubeconfig = kubeconfig.write(made.directory / "kubeconfig", proxy.url, proxy.ca, token)
        self.starts = 1

    async def keep(self) -> None:
        """Start it again when it was killed."""
        while True:
            await asyncio.sleep(0.2)
            if not self._cluster.api_server.is_running:
                await asyncio.to_thread(self._cluster.api_server.kill)
                await asyncio.to_thread(self._cluster.api_server.start)
                self.starts += 1

    def signal(self, number: signal.Signals) -> int | None:
        """Signal the API server."""
        process = self._cluster.api_server
        if not process.is_running:
            return None
        process.send(number)
        return process.pid

    def order(self, order: Object) -> bool:
        """Have the proxy answer."""
        threading.Thread(target=strike_calls, args=(self._proxy, self._counts, order), daemon=True).start()
        return True

    def kill(self) -> None:
        """The control plane stays, for the next test."""
        self._proxy.clear()


@pytest.mark.timeout(400)  # the API server takes several seconds to start, each time that it was killed
def test_storm(cluster: ControlPlane, tmp_path: Path) -> None:
    """Half a minute of faults of all kinds, with a real API server → no invariant is broken."""
    needs.root()
    read = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
    grant(cluster, NAMESPACE, [*BASE_RULES, *SYNC_RULES, read])
    logging.disable()
    with ExitStack() as stack:
        stack.callback(logging.disable, logging.NOTSET)
        stack.callback(cluster.wait_ready)
        proxy = stack.enter_context(FaultProxy(cluster.url, cluster.client_context()))
        options = Options(
            1, SECONDS, PER_SECOND, NOT_HERE, 80, patient=False, server=lambda made: RealServer(cluster, proxy, made)
        )
        summary = asyncio.run(run(tmp_path, options))
    print(summary.text())
    assert summary.violations == []
    assert summary.checks["publish: OK"] > 20, "hardly a volume was published: nothing was tested"
