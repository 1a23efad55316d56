"""The provider of the storm, a process: it serves the current generation of all classes, and obeys the order in a file,
which is how the storm breaks its replies."""

import asyncio
import json
import os
import random
from dataclasses import dataclass
from pathlib import Path

import grpc

from protos import provider_pb2
from provider_kit import (
    File,
    MountReply,
    MountRequest,
    NotFound,
    Provider,
    RemoteFailure,
    ReplyError,
    ServeConfig,
    flag,
    run_command,
)
from provider_stub.orders import MALFORMED, OVERSIZED_BYTES
from tests.faults.storm import content
from tests.faults.storm.kinds import KINDS
from tests.faults.storm.shared import Shared

NAME = "storm"
# Replies that the driver takes: an empty one means that the provider has written the files itself, and of files with
# the same path the last one counts.
TAKEN = ("empty", "no-files", "duplicate")
# More than the volume's tmpfs has room for, but no more than a reply may have.
BULKY = {f"bulk-{number}": b"x" * 350_000 for number in range(10)}
ERRORS = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.CANCELLED,
)


@dataclass(frozen=True)
class StormConfig(ServeConfig):
    """The flags."""

    canary: str = flag("", "text that is in each secret")
    generation: str = flag("", "file with the current generation")
    orders: str = flag("", "file with the current order, if there is one")
    counts: str = flag("", "file of shared memory with the number of strikes")


class StormProvider(Provider):
    """Serves the classes of ``content``."""

    name = NAME

    def __init__(self, config: StormConfig) -> None:
        self._canary = config.canary
        self._generation, self._orders = Path(config.generation), Path(config.orders)
        self._counts = Shared(Path(config.counts), list(KINDS))

    async def mount(self, request: MountRequest) -> MountReply | provider_pb2.MountResponse:
        """The files of the class that the parameters name, unless there is an order."""
        class_name = request.require("content")
        if class_name not in content.CLASSES:
            raise NotFound(f"there is no content {class_name!r}")
        broken = await self._obey()
        if broken is not None:
            return broken
        generation = int(self._generation.read_text())
        files = [
            File(name, content.contents(self._canary, class_name, generation, name))
            for name in content.CLASSES[class_name]
        ]
        return MountReply(files, {name: str(generation) for name in content.CLASSES[class_name]})

    async def _obey(self) -> provider_pb2.MountResponse | None:
        """The reply that the current order asks for; None if the normal one is to follow."""
        try:
            order = json.loads(self._orders.read_bytes())
        except FileNotFoundError:
            return None
        self._counts.add(order["kind"])
        chosen = random.Random(order["choice"])
        match order["detail"]:
            case "cut":
                await asyncio.sleep(chosen.uniform(0, 0.05))
                os._exit(70)
            case "slow":
                await asyncio.sleep(chosen.uniform(0.5, 6.0))
            case "oversized":
                return _reply({"blob": b"x" * OVERSIZED_BYTES})
            case "bulky":
                return _reply(BULKY)
            case "wrong":
                return MALFORMED[chosen.choice([name for name in MALFORMED if name not in TAKEN])]()
            case "error":
                if chosen.random() < 0.2:
                    raise ReplyError("Refused")
                raise RemoteFailure(chosen.choice(ERRORS), "an ordered error")
        return None


def _reply(files: dict[str, bytes]) -> provider_pb2.MountResponse:
    return provider_pb2.MountResponse(
        object_version=[provider_pb2.ObjectVersion(id="ordered", version="1")],
        files=[provider_pb2.File(path=path, mode=0o644, contents=contents) for path, contents in files.items()],
    )


if __name__ == "__main__":
    raise SystemExit(run_command("storm-provider", StormConfig, StormProvider))
