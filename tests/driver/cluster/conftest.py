"""The driver's API client before the fake API server."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver.sync import engine
from runtime import logs
from tests.cluster.pki import Authority
from tests.support.fake_api import FakeApi
from tests.support.fake_api_rig import FakeApiRig, fake_api_rig


@pytest.fixture(autouse=True)
def quick_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that starts with volumes reads their classes at once, not spread over seconds."""
    monkeypatch.setattr(engine, "RESTART_SPREAD", 0.1)


@pytest.fixture
def server() -> Iterator[FakeApi]:
    """A fake API server over plain HTTP."""
    with FakeApi() as running:
        yield running


@pytest.fixture
def tls_server() -> Iterator[FakeApi]:
    """A fake API server over TLS."""
    with FakeApi(Authority("first")) as running:
        yield running


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[FakeApiRig]:
    """A namespace of a fake cluster, and whole drivers before it."""
    with fake_api_rig(tmp_path) as made:
        yield made


@pytest.fixture
def logged() -> io.StringIO:
    """What the driver writes to its log at the highest verbosity, fields included."""
    stream = io.StringIO()
    logs.configure("driver", stream=stream, verbosity=10)
    return stream
