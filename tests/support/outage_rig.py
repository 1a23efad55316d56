"""A driver with a provider that can be away, hang, refuse and come back, and pods whose tokens name their account."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest

from driver.ports import LAST_KNOWN_GOOD_ANNOTATION, SHARE_ANNOTATION
from driver.providers import pool
from driver.publish import renewals
from driver.publish.fetching import replies
from protos import provider_pb2
from provider_kit import File, MountReply, MountRequest, Provider, RemoteFailure
from provider_kit.testing import RunningProvider, running
from runtime import clock
from tests.support.accounts import with_token
from tests.support.rig import Rig, Volume, rig

KNOWN_GOOD = {LAST_KNOWN_GOOD_ANNOTATION: "6h"}
SHARED = {SHARE_ANNOTATION: "30s"}
# How long new pods wait for a store that is away, and for one that answers, on a machine that may be busy.
AWAY_SECONDS, ANSWER_SECONDS = 0.2, 5.0


@dataclass
class UnsteadyProvider(Provider):
    """Replies with ``contents``, or fails with ``code`` and the text ``quote``, or waits until ``open`` is set. With
    ``writes`` it replies without files."""

    contents: bytes = b"s3cret"
    code: grpc.StatusCode | None = None
    writes: bool = False
    quote: str = "the store said so"
    open: asyncio.Event = field(default_factory=asyncio.Event)
    name: str = "lab"
    version: str = "1"

    def __post_init__(self) -> None:
        self.open.set()

    async def mount(self, request: MountRequest) -> MountReply | provider_pb2.MountResponse:
        """As it is told."""
        contents = self.contents
        await self.open.wait()
        if self.code is not None:
            raise RemoteFailure(self.code, self.quote)
        if self.writes:
            return provider_pb2.MountResponse(object_version=[provider_pb2.ObjectVersion(id="password", version="1")])
        return MountReply(files=[File("password", contents)], versions={"password": version_of(contents)})


def version_of(contents: bytes) -> str:
    """The version that the provider names."""
    return hashlib.sha256(contents).hexdigest()[:8]


class OutageRig:
    """``lab`` is the provider, ``served`` its recorded requests."""

    def __init__(self, it: Rig, lab: UnsteadyProvider, served: RunningProvider, shift: list[float]) -> None:
        self.rig, self.lab, self.served = it, lab, served
        self._shift = shift

    def write_class(self, annotations: dict[str, str], name: str = "app", **spec: Any) -> None:
        """A class of this provider."""
        self.rig.write_class(name, annotations=annotations, provider="lab", **spec)

    def volume(self, pod: str, account: str = "default", **options: Any) -> Volume:
        """A volume of a pod with a token; ``claims`` replace the token's, ``lifetime`` is in seconds."""
        claims, lifetime = options.pop("claims", {}), options.pop("lifetime", 3600.0)
        audiences = options.pop("audiences", ("vault",))
        return with_token(self.rig.volume(pod, **options), account, audiences, lifetime, **claims)

    async def stale_volume(self, **options: Any) -> Volume:
        """The store goes away after pod-0 has got its content: a volume of pod-1, served with that."""
        await self.volume("pod-0").publish()
        self.away()
        volume = self.volume("pod-1", **options)
        await volume.publish()
        return volume

    def away(self) -> None:
        """The store does not answer; new pods do not wait for long."""
        self.lab.code, replies.PATIENCE_SECONDS = grpc.StatusCode.UNAVAILABLE, AWAY_SECONDS

    def refuse(self, code: grpc.StatusCode) -> None:
        """The store answers, with a code that is not that of one that is away."""
        self.lab.code, replies.PATIENCE_SECONDS = code, ANSWER_SECONDS

    def back(self, contents: bytes = b"new") -> None:
        """The store answers, with other content."""
        self.lab.code, self.lab.contents, replies.PATIENCE_SECONDS = None, contents, ANSWER_SECONDS
        self.lab.open.set()

    def pass_time(self, seconds: float) -> None:
        """Move the clock that nobody can set."""
        self._shift[0] += seconds

    @property
    def calls(self) -> int:
        """The provider's, so far."""
        return self.served.calls


@contextmanager
def hurried() -> Iterator[list[float]]:
    """Nobody waits for long; the list has the seconds by which the clock that nobody can set is ahead. A test that
    changes one of these bounds within assigns it: pytest's ``monkeypatch`` would restore ours after the end."""
    shift, now = [0.0], clock.now
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "FIRST_RETRY_SECONDS", 0.01)
        patch.setattr(replies, "PATIENCE_SECONDS", AWAY_SECONDS)
        patch.setattr(renewals, "FIRST_PAUSE", 0.05)
        patch.setattr(renewals, "LAST_PAUSE", 0.1)
        patch.setattr(clock, "now", lambda: now() + shift[0])
        yield shift


@asynccontextmanager
async def unsteady(it: Rig, shift: list[float]) -> AsyncIterator[OutageRig]:
    """A driver that is started gets the provider."""
    lab = UnsteadyProvider()
    async with running(lab, it.providers_dir / "lab.sock") as served:
        yield OutageRig(it, lab, served, shift)
        lab.open.set()


@asynccontextmanager
async def outage_rig(directory: Path, **config: Any) -> AsyncIterator[OutageRig]:
    """A started rig with manifests."""
    with hurried() as shift:
        async with rig(directory, **config) as it, unsteady(it, shift) as made:
            yield made
