"""Asks the driver for its name, over a connection that is kept while the socket's path leads to the same driver."""

import os
import re
from pathlib import Path

from protos import csi_pb2
from runtime import clock, redact, rpc
from runtime.errors import Failure, Unavailable

# At most 63 characters, beginning and ending with a letter or digit: GetPluginInfoResponse in
# https://github.com/container-storage-interface/spec/blob/master/spec.md#getplugininfo
_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?")
_GET_PLUGIN_INFO = "/csi.v1.Identity/GetPluginInfo"


class Driver:
    """The driver behind the socket at ``path``; ``timeout`` is the deadline of a call in seconds."""

    def __init__(self, path: str, timeout: float) -> None:
        self.path = path
        self._timeout = timeout
        self._channel = rpc.SocketChannel(path)
        self._answered: float | None = None

    def answered_within(self, seconds: float) -> bool:
        """Whether its last answer is at most so many seconds old, and the connection still leads to the same process.
        The kernel ends the connection of a process that has ended, so only one that hangs is noticed later than by a
        call."""
        return self._answered is not None and clock.now() - self._answered <= seconds and self._channel.stands

    async def get_name(self) -> str:
        """The driver's name. Raises Unavailable if the driver does not answer in time, Failure if the name is
        invalid."""
        self._answered = None
        self._check_socket()
        try:
            info = await self._channel.call_when_ready(
                _GET_PLUGIN_INFO, csi_pb2.GetPluginInfoRequest(), csi_pb2.GetPluginInfoResponse, self._timeout
            )
        except rpc.Unreadable as failure:
            raise Unavailable(f"the driver on {self.path} does not answer GetPluginInfo: {failure.details}") from None
        except rpc.CallFailed as failure:
            detail = redact.text(failure.details)
            if failure.is_unanswered:
                detail = f"no answer within {self._timeout:g} s; it is frozen, or no CSI driver serves this socket"
            raise Unavailable(
                f"the driver on {self.path} does not answer GetPluginInfo: {failure.code.name} {detail}"
            ) from None
        if not _NAME.fullmatch(info.name):
            raise Failure(
                f"the driver on {self.path} reports the name {info.name[:80]!r}, "
                "which is not a valid CSI driver name: see --drivername"
            )
        self._answered = clock.now()
        return str(info.name)

    def _check_socket(self) -> None:
        if not os.path.exists(self.path):
            raise Unavailable(f"the driver's socket {self.path} does not exist; is the driver running?")
        if not Path(self.path).is_socket():
            raise Unavailable(f"{self.path} is not a socket: see --csi-address")

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()
