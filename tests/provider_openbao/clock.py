"""Time that a test moves, for the modules that count the lives of tokens and leases."""

import time

import pytest


class Clock:
    """Stands in for the module ``time``."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead

    def time(self) -> float:
        return time.time() + self._ahead

    def pass_(self, seconds: float) -> None:
        """Let so many seconds pass at once."""
        self._ahead += seconds


def installed(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock for logins and leases."""
    clock = Clock()
    for module in ("login", "lease", "leases", "revoking"):
        monkeypatch.setattr(f"provider_openbao.{module}.time", clock)
    return clock
