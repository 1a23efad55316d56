"""What every test of the registrar runs with."""

import pytest

from registrar import reconciler


@pytest.fixture(autouse=True)
def _short_poll_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """The poll that backs up inotify comes every 0.3 s, so that a test that relies on it does not take long."""
    monkeypatch.setattr(reconciler, "POLL_SECONDS", 0.3)
