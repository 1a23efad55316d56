"""The class that every provider subclasses."""

from protos import provider_pb2
from provider_kit.reply import MountReply
from provider_kit.request import MountRequest
from runtime.version import build


class Provider:
    """A provider: override ``mount``, and ``name`` and ``version``, which the driver's health check reads.

    To refuse a request raise one of the kit's failures (``NotFound``, ``PermissionDenied`` …). Its sentence is shown in
    the pod's events, so it must never hold a secret. Any other exception is a bug: the caller sees INTERNAL, and only
    the provider's log has the details.
    """

    name = "provider"
    version = build().version

    async def mount(self, request: MountRequest) -> MountReply | provider_pb2.MountResponse:
        """Fetch the contents of one volume; called for the first mount and again at each rotation.

        It runs on the event loop: call a blocking client in ``asyncio.to_thread``. It is cancelled when the caller
        gives up. A raw ``MountResponse`` is sent as it is, unchecked.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Release what the provider holds, such as connections to its store; called once, after the last call."""
