"""What all connections to the API server have in common: their number, and the errors that say that it was not
reached."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator

from runtime.tasks import cancellation_was_requested

CONNECTIONS = 8
# Timeouts are OSErrors, and a response that is not JSON is a ValueError.
NETWORK_ERRORS: tuple[type[Exception], ...] = (OSError, ValueError)


class UnusableConfigurationError(OSError):
    """There is no address, or there are no credentials, that could be used; may pass, since files are replaced."""


@contextlib.asynccontextmanager
async def network_errors() -> AsyncGenerator[None, None]:
    """Turn a cancellation that nobody requested into the network error that it stands for."""
    try:
        yield
    except asyncio.CancelledError:
        if cancellation_was_requested():
            raise
        raise ConnectionAbortedError("the connection was closed while it was waited for") from None


def is_tls_failure(error: BaseException) -> bool:
    """Whether TLS failed: the CA or the client certificate may have been replaced since they were read."""
    # aiohttp's errors of TLS are SSLErrors, too.
    return any(isinstance(item, ssl.SSLError) for item in (error, error.__cause__))
