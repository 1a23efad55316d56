"""A namespace with what a SecretSync needs, and the chart's policies in force."""

from pathlib import Path

import pytest

from tests.cluster import build
from tests.cluster.api import Object
from tests.cluster.secret_sync import policies
from tests.cluster.secret_sync.rig import SecretSyncRig
from tests.cluster.servers import ControlPlane


@pytest.fixture(scope="session")
def limited(cluster: ControlPlane) -> bool:
    """Whether the account is limited: if Helm is built."""
    if build.GROUPS["helm"].missing:
        return False
    policies.limit_every_rig(cluster)
    return True


@pytest.fixture
def sync_rig(cluster: ControlPlane, limited: bool, namespace: str, tmp_path: Path) -> SecretSyncRig:
    """A namespace with a class, and the controller's account."""
    return _rig(SecretSyncRig(cluster, namespace, tmp_path))


@pytest.fixture
def unlimited_rig(cluster: ControlPlane, namespace: str, tmp_path: Path) -> SecretSyncRig:
    """The same, with an account that no policy limits."""
    return _rig(SecretSyncRig(cluster, namespace, tmp_path, account="without-policies"))


@pytest.fixture
def watching_rig(cluster: ControlPlane, limited: bool, namespace: str, tmp_path: Path) -> SecretSyncRig:
    """The same as ``sync_rig``, with the rights of the chart's value watchSecrets."""
    rule: Object = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch"]}
    return _rig(SecretSyncRig(cluster, namespace, tmp_path, more_rules=[rule]))


@pytest.fixture
def policies_in_force(limited: bool) -> None:
    """Skip what needs the policies."""
    if not limited:
        pytest.skip("no helm: make test-cluster builds it")


def _rig(rig: SecretSyncRig) -> SecretSyncRig:
    rig.make_class()
    rig.cluster.service_account(rig.namespace, "default")
    return rig
