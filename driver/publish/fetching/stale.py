"""The volumes that have content which this node fetched before the provider went away, and are to get fresh content."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from driver import limits
from driver.publish.fetching.key import FetchKey
from driver.publish.request import PublishRequest
from runtime import clock
from runtime.errors import Failure


@dataclass(frozen=True)
class Waiting:
    """Kubelet's last request for a volume, with its tokens, and the moment at which it came."""

    request: PublishRequest
    received: float = field(default_factory=lambda: clock.now())


class StaleVolumes:
    """These volumes by key and target path. ``away`` says of each key why the provider counts as away; a new pod does
    not ask it again."""

    def __init__(self) -> None:
        self.away: dict[FetchKey, Failure] = {}
        self.added = asyncio.Event()
        self._volumes: dict[FetchKey, dict[str, Waiting]] = {}
        self._answers: dict[FetchKey, float] = {}

    def add(self, key: FetchKey, request: PublishRequest, failure: Failure, decided: float) -> None:
        """A volume was served with held content because of a ``failure``, as was ``decided`` at this moment: who has
        asked meanwhile may have got an answer."""
        if self._answers.get(key, float("-inf")) < decided:
            self.away[key] = failure
        self._volumes.setdefault(key, {})[request.target.path] = Waiting(request)
        self.added.set()

    def answered(self, key: FetchKey) -> None:
        """The provider is not away."""
        self.away.pop(key, None)
        self._answers.pop(key, None)
        self._answers[key] = clock.now()
        if len(self._answers) > limits.MAX_HELD_REPLIES:
            del self._answers[next(iter(self._answers))]

    def update(self, request: PublishRequest) -> bool:
        """Take the tokens of a republish; returns whether the volume is waiting for fresh content."""
        for volumes in self._volumes.values():
            if request.target.path in volumes:
                volumes[request.target.path] = Waiting(request)
                return True
        return False

    def keys(self) -> set[FetchKey]:
        """Those with volumes."""
        return set(self._volumes)

    def of(self, key: FetchKey) -> Mapping[str, Waiting]:
        """Those of a key by target path, a copy."""
        return dict(self._volumes.get(key, {}))

    def move(self, key: FetchKey, to: FetchKey) -> None:
        """The class has changed: its volumes wait for what it asks for now."""
        volumes = self._volumes.setdefault(to, {})
        for path, item in self._volumes.pop(key, {}).items():
            if path not in volumes or volumes[path].received < item.received:
                volumes[path] = item
        self.away.pop(key, None)
        self.added.set()

    def remove(self, key: FetchKey, target_path: str) -> None:
        """A volume has fresh content, or is gone. With the last one of a key the provider is asked again by whoever
        needs it."""
        volumes = self._volumes.get(key, {})
        volumes.pop(target_path, None)
        if not volumes:
            self._volumes.pop(key, None)
            self.away.pop(key, None)
