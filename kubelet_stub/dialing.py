"""Channels of gRPC's own library, as kubelet's are: what is called is held to be a gRPC server by others than us."""

from collections.abc import Sequence
from typing import Any

import grpc.aio

# Providers reject any other authority; by default gRPC would send the socket's path. Without its own subchannel pool a
# channel shares the connection of the process's other channels to that path, and has to sit out the back-off after
# their failed attempts.
_CHANNEL_OPTIONS = (("grpc.default_authority", "localhost"), ("grpc.use_local_subchannel_pool", 1))


def dial(path: str, options: Sequence[tuple[str, Any]] = ()) -> grpc.aio.Channel:
    """A channel to the Unix socket at ``path``, independent of all other channels."""
    return grpc.aio.insecure_channel(f"unix:{path}", options=[*_CHANNEL_OPTIONS, *options])
