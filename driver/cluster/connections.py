"""The connections to the API server with the current credentials, opened when they are first used.

They are opened by a task of their own: a caller whose time is over does not end what the others wait for, such as a
credential plugin that takes longer than one call may. After a 401 or a TLS failure the credentials are read again: new
calls use new connections, and the old ones are closed after their last user.
"""

import asyncio
import contextlib
import importlib
from collections.abc import AsyncGenerator
from types import ModuleType
from typing import TYPE_CHECKING

from driver.cluster.network import NETWORK_ERRORS, UnusableConfigurationError, is_tls_failure, network_errors

if TYPE_CHECKING:
    from driver.cluster.transport import Transport

# Longer than a credential plugin may take. Others, such as gcloud and OpenID Connect, have no limit of their own.
OPEN_SECONDS = 60.0


class Connections:
    """``transport`` is what new calls use; None before the first one, and after the credentials were given up.

    ``errors`` are the exceptions that say that the server was not reached, or that something in between returned a
    non-JSON response. aiohttp's own, which cannot occur earlier, are added when it is imported.
    """

    errors: tuple[type[Exception], ...] = NETWORK_ERRORS

    def __init__(self, kubeconfig: str) -> None:
        self._kubeconfig = kubeconfig
        self.transport: Transport | None = None
        self._opening: asyncio.Task[Transport] | None = None

    @contextlib.asynccontextmanager
    async def use(self) -> AsyncGenerator["Transport", None]:
        """The connections, for one call.

        After a TLS failure they are not used again: the CA or the client certificate may have been replaced. Raises
        UnusableConfigurationError.
        """
        transport = await self._open()
        transport.users += 1
        try:
            yield transport
        except self.errors as error:
            if is_tls_failure(error):
                self.discard(transport)
            raise
        finally:
            transport.users -= 1
            if transport is not self.transport and not transport.users:
                await transport.close()

    def discard(self, stale: "Transport") -> None:
        """Let the next call read the credentials again: the file or the token has changed. The calls that use the old
        connections go on; the last one closes them."""
        if self.transport is stale:
            self.transport = None

    async def close(self) -> None:
        """Close the connections, if there are any, as soon as no call uses them; a later call opens new ones."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
            self._opening = None  # one that had not begun could not do that itself
        transport, self.transport = self.transport, None
        if transport is not None and not transport.users:
            await transport.close()

    async def _open(self) -> "Transport":
        if self.transport is not None:
            return self.transport
        if self._opening is None:
            self._opening = asyncio.create_task(self._load())
            self._opening.add_done_callback(_retrieve)
        async with network_errors():
            return await asyncio.shield(self._opening)

    async def _load(self) -> "Transport":
        try:
            # Imported here, with aiohttp and in a thread, so that it delays neither the first Probe nor the calls
            # after it: it takes a fifth of the CPU time of a start (docs/performance.md).
            module = await asyncio.to_thread(_import_transport)
            self.errors = module.ERRORS
            try:
                async with asyncio.timeout(OPEN_SECONDS):
                    transport: Transport = await module.Transport.open(self._kubeconfig)
            except TimeoutError:
                raise UnusableConfigurationError(
                    f"no usable API configuration: reading it took longer than {OPEN_SECONDS:g} s"
                ) from None
            except module.CONFIGURATION_ERRORS as error:
                raise UnusableConfigurationError(f"no usable API configuration: {error}") from None
            self.transport = transport
            return transport
        finally:
            self._opening = None


def _import_transport() -> ModuleType:
    try:
        return importlib.import_module("driver.cluster.transport")
    except ModuleNotFoundError:
        raise  # no retry finds it
    except ImportError as error:  # a library could not be opened: no descriptor or no memory is left
        raise UnusableConfigurationError(f"what connects to the API server cannot be loaded: {error}") from None


def _retrieve(opening: "asyncio.Task[Transport]") -> None:
    """Keep asyncio from logging a failure for which nobody waits any more."""
    if not opening.cancelled():
        opening.exception()
