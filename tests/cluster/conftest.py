"""One control plane for the whole run. Without its programs the tests are skipped, or fail if
``SECRETS_STORE_REQUIRE_CLUSTER=1``."""

import gc
import os
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import build, policies
from tests.cluster.api import Object
from tests.cluster.attempts import Attempts
from tests.cluster.commands import Settings
from tests.cluster.crds import write_trio_crds
from tests.cluster.proxy import FaultProxy
from tests.cluster.rig import ClusterRig
from tests.cluster.servers import ControlPlane

HERE = Path(__file__).resolve().parent
REQUIRED = "SECRETS_STORE_REQUIRE_CLUSTER"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test's time includes the start of the servers, on a machine that may be busy.

    asyncio leaves a socket to the garbage collector if its TLS handshake was cancelled, which happens when a driver
    stops while it opens its connections. The warning then comes in whatever test is running.
    """
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed (transport|<socket|<ssl):ResourceWarning"))
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(180))


@pytest.fixture(autouse=True, scope="module")
def _left_sockets() -> Iterator[None]:
    """Collect those sockets while the warning is ignored: after the last test, no marker of a test would do that."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="session")
def cluster_programs() -> None:
    """Skip or fail if a program of the control plane is missing."""
    if missing := build.GROUPS["apiserver"].missing:
        sentence = f"no {', '.join(missing)}: make test-cluster builds the programs"
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(sentence, pytrace=False)
        pytest.skip(sentence)


@pytest.fixture(scope="session")
def cluster(cluster_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The control plane that all tests share, with the chart's CRDs and, if Helm is built, its policies."""
    directory = tmp_path_factory.mktemp("cluster")
    chart = HERE.parent.parent / "helm"
    manifests = sorted(chart.glob("crds/*.yaml")) or write_trio_crds(directory / "crds", pruned=False)
    # The garbage collector learns of a CRD that is added later after half a minute.
    manifests = [*manifests, chart / "files" / "secretsyncs.yaml"]
    with ControlPlane(directory, Settings(manifests=tuple(manifests))) as running:
        _warm_up(running)
        policies.limit_every_rig(running)
        yield running


def _warm_up(cluster: ControlPlane) -> None:
    """A new API server takes two seconds for its first custom object, which no test should measure."""
    status: Object = {
        "apiVersion": "secrets-store.csi.x-k8s.io/v1",
        "kind": "SecretProviderClassPodStatus",
        "metadata": {"namespace": "default", "name": "warm-up"},
    }
    cluster.api.create(status)
    cluster.api.delete(cluster.api.path(status))


@pytest.fixture
def namespace(cluster: ControlPlane) -> Iterator[str]:
    """A namespace of the test's own, deleted with its objects."""
    name = cluster.namespace(f"test-{uuid.uuid4().hex[:8]}")
    yield name
    cluster.api.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture
def proxy(cluster: ControlPlane) -> Iterator[FaultProxy]:
    """A proxy in front of the API server, without faults so far."""
    with FaultProxy(cluster.url, cluster.client_context()) as running:
        yield running


@pytest.fixture
def cluster_rig(cluster: ControlPlane, namespace: str, tmp_path: Path) -> ClusterRig:
    """A namespace and a driver's account with the chart's rights, those for synced Secrets included."""
    return ClusterRig(cluster, namespace, tmp_path)


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> Attempts:
    """Counts the driver's attempts to reach the API server."""
    return Attempts(monkeypatch)
