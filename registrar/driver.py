"""Asks the driver for its name, over one kept channel."""

import os
import re
from pathlib import Path

import grpc.aio

from protos import csi_pb2, csi_pb2_grpc
from runtime import redact, rpc
from runtime.errors import Failure, Unavailable

# CSI specification, GetPluginInfoResponse: at most 63 characters, beginning and ending with a letter or digit.
_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?")
# A driver that restarts is seen at once. The second is the shortest time for a connection to be made, not a pause: a
# slow node needs it, and a frozen driver answers on the connection that waits for it.
_RECONNECT = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 5000),
    ("grpc.max_reconnect_backoff_ms", 500),
)


class Driver:
    """The driver behind one socket."""

    def __init__(self, path: str, timeout: float) -> None:
        self.path = path
        self._timeout = timeout
        self._channel = rpc.dial(path, _RECONNECT)
        self._identity = csi_pb2_grpc.IdentityStub(self._channel)

    async def name(self) -> str:
        """The driver's name. Raises Unavailable if it does not answer in time, Failure if what it answers is no
        name."""
        if not os.path.exists(self.path):  # noqa: ASYNC240
            raise Unavailable(f"the driver's socket {self.path} does not exist; is the driver running?")
        if not Path(self.path).is_socket():  # noqa: ASYNC240
            raise Unavailable(f"{self.path} is no socket: see --csi-address")
        try:
            info = await self._identity.GetPluginInfo(
                csi_pb2.GetPluginInfoRequest(), timeout=self._timeout, wait_for_ready=True
            )
        except grpc.aio.AioRpcError as error:
            detail = error.details() or ""
            if detail == rpc.DEADLINE_DETAILS:
                detail = f"nothing within {self._timeout:g} s; it is frozen, or no CSI driver serves this socket"
            raise Unavailable(
                f"the driver on {self.path} does not answer GetPluginInfo: {error.code().name} {redact.text(detail)}"
            ) from None
        if not _NAME.fullmatch(info.name):
            raise Failure(
                f"the driver on {self.path} gives {info.name[:80]!r} as its name, "
                "which is no CSI driver name: see --drivername"
            )
        return str(info.name)

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()
