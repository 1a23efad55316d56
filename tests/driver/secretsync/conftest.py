"""SecretSyncs before a fake API server, with a real provider on its socket."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fake_api import FakeApi
from tests.support.secret_sync_rig import FakeSecretSyncRig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[FakeSecretSyncRig]:
    """A namespace with a class ``app``."""
    with FakeApi() as server:
        made = FakeSecretSyncRig(server, tmp_path)
        made.prepare()
        made.make_class()
        yield made
