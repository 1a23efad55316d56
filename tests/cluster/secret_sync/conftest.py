"""A namespace with what a SecretSync needs."""

from pathlib import Path

import pytest

from tests.cluster.secret_sync.rig import SecretSyncRig
from tests.cluster.servers import ControlPlane


@pytest.fixture
def sync_rig(cluster: ControlPlane, namespace: str, tmp_path: Path) -> SecretSyncRig:
    """A namespace with a class, and the controller's account."""
    rig = SecretSyncRig(cluster, namespace, tmp_path)
    rig.make_class()
    cluster.service_account(namespace, "default")
    return rig
