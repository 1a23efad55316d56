"""How many events a pod, its namespace and the node may send; those beyond are counted, and one event for each pod
says how many.

All limits are token buckets: a burst, then a steady rate.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from driver import limits
from driver.ports import Pod, PodEvent

SUPPRESSED = "EventsSuppressed"


@dataclass
class TokenBucket:
    """``burst`` tokens, and one more each ``seconds``; ``clock`` is monotonic."""

    burst: int
    seconds: float
    clock: Callable[[], float] = time.monotonic
    _tokens: float = field(init=False)
    _last: float = field(init=False)

    def __post_init__(self) -> None:
        self._tokens, self._last = float(self.burst), self.clock()

    def take(self) -> bool:
        """Take a token; False if there is none."""
        now = self.clock()
        self._tokens = min(self.burst, self._tokens + (now - self._last) / self.seconds)
        self._last = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class EventRate:
    """Decides which events are sent, and counts the others."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._node = TokenBucket(limits.NODE_EVENTS_BURST, limits.NODE_EVENTS_SECONDS, clock)
        self._pods: OrderedDict[str, TokenBucket] = OrderedDict()
        self._namespaces: OrderedDict[str, TokenBucket] = OrderedDict()
        self._suppressed: OrderedDict[Pod, int] = OrderedDict()

    def allows(self, pod: Pod) -> bool:
        """Whether an event of this pod may be sent now; else it is counted."""
        of_pod = self._bucket(self._pods, pod.uid, limits.POD_EVENTS_BURST, limits.POD_EVENTS_SECONDS)
        of_namespace = self._bucket(
            self._namespaces, pod.namespace, limits.NAMESPACE_EVENTS_BURST, limits.NAMESPACE_EVENTS_SECONDS
        )
        if of_pod.take() and of_namespace.take() and self._node.take():
            return True
        self.suppress(pod)
        return False

    def _bucket(self, buckets: OrderedDict[str, TokenBucket], name: str, burst: int, seconds: float) -> TokenBucket:
        """That of a pod or namespace; of too many, the one that was used the longest time ago is forgotten."""
        bucket = buckets[name] if name in buckets else TokenBucket(burst, seconds, self._clock)
        buckets[name] = bucket
        buckets.move_to_end(name)
        if len(buckets) > limits.MAX_EVENT_PODS:
            buckets.popitem(last=False)
        return bucket

    def suppress(self, pod: Pod) -> None:
        """Count an event that is not sent."""
        if pod in self._suppressed or len(self._suppressed) < limits.MAX_EVENT_PODS:
            self._suppressed[pod] = self._suppressed.get(pod, 0) + 1

    def summaries(self) -> list[PodEvent]:
        """An event for each of a few pods, the longest waiting ones, that says how many of its events were not sent."""
        found: list[PodEvent] = []
        while self._suppressed and len(found) < limits.MAX_EVENT_SUMMARIES:
            pod, count = self._suppressed.popitem(last=False)
            message = (
                f"{count} more events of this pod were not sent, as they are too many; the driver's log has them. "
                "Correct what the other events say"
            )
            found.append(PodEvent(pod, True, SUPPRESSED, message))
        return found
