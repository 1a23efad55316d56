"""Work of several tenants, which take turns: however much one of them has waiting, the others do not wait behind it."""

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """Of each tenant's work at most ``of_one`` is done at a time. Not thread-safe."""

    def __init__(self, of_one: int) -> None:
        self._of_one = of_one
        # Only of tenants with work that waits, the one whose turn is next first; and how much of each is being done.
        self._waiting: dict[str, deque[T]] = {}
        self._running: dict[str, int] = {}

    def put(self, tenant: str, work: T) -> None:
        """There is more work."""
        self._waiting.setdefault(tenant, deque()).append(work)

    def take(self) -> tuple[str, T] | None:
        """The next work, and whose it is; its tenant's next turn is after all others'. None if nothing is left that may
        be done: a tenant at its limit is served by whoever does its work, after ``ended``."""
        tenant = next((each for each in self._waiting if self._running.get(each, 0) < self._of_one), None)
        if tenant is None:
            return None
        works = self._waiting.pop(tenant)
        work = works.popleft()
        if works:
            self._waiting[tenant] = works
        self._running[tenant] = self._running.get(tenant, 0) + 1
        return tenant, work

    def ended(self, tenant: str) -> None:
        """Some work of the tenant that was taken has ended."""
        self._running[tenant] -= 1
        if not self._running[tenant]:
            del self._running[tenant]
