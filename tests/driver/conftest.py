"""The driver's tests."""

import pytest

from driver.csi import node


@pytest.fixture(autouse=True)
def answers_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver answers a second before its caller's deadline, or at half the time, as it does for calls with
    kubelet's deadline. For the short ones of the tests it would leave a twentieth: too little on a busy machine."""
    monkeypatch.setattr(node, "MARGIN", 0.5)
