"""kubelet's exponential back-off: each failure doubles the pause, a success forgets them."""


class Backoff:
    """Pauses ``base``, 2 × ``base``, 4 × ``base``, … up to ``cap`` seconds."""

    def __init__(self, base: float, cap: float) -> None:
        self._base, self._cap = base, cap
        self._next = base

    def failed(self) -> float:
        """Note a failure; returns how long to pause after it."""
        pause = min(self._next, self._cap)
        self._next = min(self._next * 2, self._cap)
        return pause

    def succeeded(self) -> None:
        """The next failure is a first one again."""
        self._next = self._base
