"""kubelet's exponential back-off: each failure doubles the pause, a success resets it."""


class Backoff:
    """Pauses of ``base``, 2 × ``base``, 4 × ``base`` … seconds, at most ``cap``."""

    def __init__(self, base: float, cap: float) -> None:
        self._base, self._cap = base, cap
        self._next = base

    def failed(self) -> float:
        """Record a failure; returns the seconds to pause after it."""
        pause = min(self._next, self._cap)
        self._next = min(self._next * 2, self._cap)
        return pause

    def succeeded(self) -> None:
        """Record a success: the next failure starts again at ``base``."""
        self._next = self._base
