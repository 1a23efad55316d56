"""Fixtures of more than one file."""

import pytest


@pytest.fixture
def quick_upkeep(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider looks all the time for what is to be revoked."""
    monkeypatch.setattr("provider_openbao.provider.UPKEEP_SECONDS", 0.01)
