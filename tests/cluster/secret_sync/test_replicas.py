"""Two replicas as processes, with the Lease of a real API server."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from driver.cluster.lease import LEASE_SECONDS, RETRY_SECONDS
from driver.secretsync.config import LEASE
from tests.cluster.api import Object
from tests.cluster.secret_sync.rig import SecretSyncRig
from tests.support.waiting import run_async, until_blocking, wait_until


@contextmanager
def replica(rig: SecretSyncRig, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A replica as a process of its own; killed at the end."""
    config = rig.config(leader_elect=True)
    arguments = [
        f"--kubeconfig={config.kubeconfig}",
        f"--provider-volume={config.provider_volume}",
        "--metrics-bind-address=0",
        "--health-probe-bind-address=0",
        "--leader-elect",
        f"--leader-election-namespace={rig.namespace}",
        f"--controller-name={rig.namespace}",
    ]
    environment = {**os.environ, "SYNC_CONTROLLER_POD_NAME": name}
    with open(rig.directory / f"{name}.log", "wb") as log:
        command = [sys.executable, "-m", "driver.secretsync.main", *arguments]
        process = subprocess.Popen(command, env=environment, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def lease(rig: SecretSyncRig) -> Object:
    """The specification of the Lease; empty before there is one."""
    found = rig.api.find(f"/apis/coordination.k8s.io/v1/namespaces/{rig.namespace}/leases/{LEASE}")
    return {} if found is None else found["spec"]


def leader(rig: SecretSyncRig) -> str:
    """The name of the replica that holds the Lease."""
    return str(lease(rig).get("holderIdentity") or "").rpartition("_")[0]


def test_a_killed_leader_is_replaced(sync_rig: SecretSyncRig) -> None:
    """Two replicas → one works. It is killed, and a SecretSync is made → the other one makes its Secret as soon as the
    Lease has expired; no Secret was written a second time."""
    sync_rig.make_sync("before")

    async def test() -> None:
        async with sync_rig.provider():
            with ExitStack() as stack:
                mark = sync_rig.cluster.audit.mark()
                replicas = {name: stack.enter_context(replica(sync_rig, name)) for name in ("a", "b")}
                await sync_rig.until_secret({"pw": b"s3cret"}, "before")
                await sync_rig.until_condition("SecretCreated", "CreateSuccessful", "before")
                first = leader(sync_rig)
                version = (sync_rig.secret("before") or {})["metadata"]["resourceVersion"]
                replicas[first].send_signal(signal.SIGKILL)
                killed = time.monotonic()
                sync_rig.make_sync("after")
                await sync_rig.until_secret({"pw": b"s3cret"}, "after", seconds=60)
                assert time.monotonic() - killed < LEASE_SECONDS + 3 * RETRY_SECONDS + 5
                assert leader(sync_rig) == ({"a", "b"} - {first}).pop()
                await sync_rig.until_condition("SecretUpdated", "SecretUpToDate", "before")
                assert (sync_rig.secret("before") or {})["metadata"]["resourceVersion"] == version
                assert not [call for call in sync_rig.cluster.audit.calls(mark, sync_rig.user) if call.status == 403]

    run_async(test, 150)


def test_a_leader_that_ends_gives_the_lease_up(sync_rig: SecretSyncRig) -> None:
    """SIGTERM → the process ends with 0, and the other replica leads within seconds instead of the Lease's 15."""

    async def test() -> None:
        with ExitStack() as stack:
            replicas = {name: stack.enter_context(replica(sync_rig, name)) for name in ("a", "b")}
            first = await until_blocking(lambda: leader(sync_rig), "a leader")
            replicas[first].send_signal(signal.SIGTERM)
            started = time.monotonic()
            wait_until(lambda: replicas[first].poll() is not None, "the leader to end")
            assert replicas[first].returncode == 0
            other = ({"a", "b"} - {first}).pop()
            await until_blocking(lambda: leader(sync_rig) == other, "the other one to lead")
            assert time.monotonic() - started < LEASE_SECONDS

    run_async(test)
