"""The controller of SecretSyncs: many of them from a cold start, and what it does while nothing happens."""

import re
import time
import urllib.request

from bench import usage
from bench.api_calls import CallsByDriver
from bench.effort import Effort, settle
from bench.figures import Figures
from bench.processes import PYTHON, Child
from bench.rig import ACCOUNT, NAMESPACE, BenchRig
from tests.cluster import audit
from tests.support.ports import free_port
from tests.support.waiting import wait_until

GROUP = "secret-sync.x-k8s.io/v1alpha1"
SUBJECT = "ours"
SYNC_SECONDS = 180.0
_WRITTEN = re.compile(r'^secrets_store_sync_total\{.*written="true"\} (\S+)$', re.MULTILINE)


def cold_start(rig: BenchRig, figures: Figures, table: CallsByDriver, effort: Effort) -> None:
    """Time until all have a Secret and say so in their status; CPU and memory of the controller by then; its calls to
    the API server for that, and in a quiet minute. Its account may watch Secrets."""
    assert rig.cluster is not None
    rig.create_all([_secret_sync(number) for number in range(effort.secret_syncs)])
    user = audit.service_account(NAMESPACE, ACCOUNT)
    mark, port, started = rig.cluster.audit.mark(), free_port(), time.perf_counter()
    child = Child(_command(rig, port), rig.directory / "secret-syncs.log", **rig.environment)
    try:
        wait_until(lambda: _written(port) == effort.secret_syncs, child.tail, SYNC_SECONDS, pause=0.1)
        figures["syncs"].add(SUBJECT, time.perf_counter() - started)
        figures["syncs_cpu"].add(SUBJECT, usage.cpu_seconds(child.pid))
        settle(3.0)  # the events of the watches are still on their way
        figures["syncs_memory"].add(SUBJECT, usage.rss(child.pid))
        counts = table.setdefault(f"{SUBJECT}, the controller of SecretSyncs", {})
        counts[f"{effort.secret_syncs} SecretSyncs from a cold start"] = rig.cluster.audit.count(mark, user)
        mark, cpu = rig.cluster.audit.mark(), usage.cpu_seconds(child.pid)
        settle(effort.quiet_seconds)
        counts[f"idle, {effort.quiet_seconds:g} s"] = idle = rig.cluster.audit.count(mark, user)
        figures["syncs_idle_calls"].add(SUBJECT, sum(count for (_, what), count in idle.items() if what != "leases"))
        figures["syncs_idle_cpu"].add(SUBJECT, (usage.cpu_seconds(child.pid) - cpu) / effort.quiet_seconds * 1000)
    finally:
        child.stop()


def _command(rig: BenchRig, port: int) -> list[str]:
    return [
        PYTHON,
        "-m",
        "driver.secretsync.main",
        f"--provider-volume={rig.providers}",
        f"--metrics-bind-address=127.0.0.1:{port}",
        "--health-probe-bind-address=0",
        "--leader-elect",
    ]


def _secret_sync(number: int) -> dict[str, object]:
    secret = {"type": "Opaque", "data": [{"sourcePath": "file-0", "targetKey": "password"}]}
    return {
        "apiVersion": GROUP,
        "kind": "SecretSync",
        "metadata": {"namespace": NAMESPACE, "name": f"sync-{number}"},
        "spec": {"secretProviderClassName": "small", "serviceAccountName": "default", "secretObject": secret},
    }


def _written(port: int) -> float:
    """How many Secrets the controller has written, as its metrics say; a list of them would be a load on the API
    server."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            found = _WRITTEN.search(answer.read().decode())
    except OSError:
        return 0.0  # it is not served yet
    return float(found[1]) if found else 0.0
