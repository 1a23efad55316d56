"""The faults that the proxy can make, and the rules that say which calls they strike."""

import asyncio
import re
from dataclasses import dataclass, field
from itertools import count

_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}
# Orders rules and watches by the moment they began.
moments = count()


@dataclass(frozen=True)
class Answer:
    """Answer with this status and a Kubernetes Status object; the API server never hears of the call."""

    status: int
    retry_after: int | None = None
    message: str = "made by the fault proxy"


@dataclass(frozen=True)
class Page:
    """Answer 200 with a page for people, as a load balancer or a captive portal between may."""

    text: str = "<html>back soon</html>"


@dataclass(frozen=True)
class WatchError:
    """Open the watch with 200 and send one ERROR event, which is how an API server mostly says 410; then end it."""

    status: int = 410
    message: str = "too old resource version: 1 (2)"


@dataclass(frozen=True)
class Delay:
    """Wait, then ask the API server."""

    seconds: float


@dataclass(frozen=True)
class Drop:
    """Close the connection without an answer: before the API server hears of it or, if ``done``, after its work."""

    done: bool = False


@dataclass(frozen=True)
class Silence:
    """Answer nothing until the rule is lifted, then go on. A watch that is open already falls silent, too.

    With ``open_only`` nothing but the watches that are open when the rule is made: a new watch works, as it does after
    a firewall has forgotten the old connection.
    """

    open_only: bool = False


Fault = Answer | Page | WatchError | Delay | Drop | Silence


@dataclass(eq=False)
class Rule:
    """A fault for the calls of a method whose path matches. Use ``hits`` and ``lift``; the rest is the proxy's."""

    method: str
    path: re.Pattern[str]
    fault: Fault
    times: int | None
    loop: asyncio.AbstractEventLoop
    hits: int = 0
    """How many calls it has struck."""
    made: int = field(default_factory=lambda: next(moments))
    over: asyncio.Event = field(default_factory=asyncio.Event)
    _lifted: bool = False

    def lift(self) -> None:
        """End the fault, from any thread."""
        self._lifted = True
        self.loop.call_soon_threadsafe(self.over.set)

    def take(self, method: str, path: str) -> bool:
        """Whether it strikes this new call; counts it if so."""
        only_old = isinstance(self.fault, Silence) and self.fault.open_only
        if only_old or self.hits == self.times or not self._covers(method, path):
            return False
        self.hits += 1
        return True

    def silences(self, method: str, path: str, opened: int) -> bool:
        """Whether it holds back what an open watch has to say."""
        if not isinstance(self.fault, Silence) or (self.fault.open_only and opened > self.made):
            return False
        return self._covers(method, path)

    def _covers(self, method: str, path: str) -> bool:
        return not self._lifted and self.method in (method, "*") and self.path.search(path) is not None


def status_object(fault: Answer | WatchError) -> dict[str, object]:
    """The body of a Kubernetes error."""
    details = {"retryAfterSeconds": fault.retry_after} if isinstance(fault, Answer) and fault.retry_after else {}
    return {
        "apiVersion": "v1",
        "kind": "Status",
        "metadata": {},
        "status": "Failure",
        "message": fault.message,
        "reason": _REASONS.get(fault.status, "Unknown"),
        "code": fault.status,
        "details": details,
    }
