"""Failures of the publish path: how they are counted and worded, and how they are answered."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from driver.ports import Pod
from runtime import rpc
from runtime.errors import Aborted, Failure, Unavailable

METHOD = "NodePublishVolume"


@contextmanager
def counted_as(error_type: str) -> Iterator[None]:
    """Give each failure of the block this ``error_type`` for the metrics, unless it has one of its own.

    A bug is logged and becomes Internal, so that it is counted too.
    """
    try:
        yield
    except Exception as error:
        failure = rpc.as_failure(error, METHOD)
        failure.error_type = failure.error_type or error_type
        if failure is error:
            raise
        raise failure from None


@contextmanager
def prefixed(prefix: str) -> Iterator[None]:
    """Put ``prefix``, for which users search, in front of the text of a Failure of the block; keep its type."""
    try:
        yield
    except Failure as failure:
        failure.args = (prefix + str(failure),)
        raise


def failed_to_mount(pod: Pod) -> str:
    """The prefix of what a provider, or the volume's tmpfs, refuses."""
    return f"failed to mount secrets store objects for pod {pod}, err: "


@asynccontextmanager
async def time_limit(deadline: float, sentence: str) -> AsyncIterator[None]:
    """Cancel the block at ``deadline`` (event loop time) and raise Unavailable with ``sentence``."""
    try:
        async with asyncio.timeout_at(deadline):
            yield
    except TimeoutError:
        raise Unavailable(sentence) from None


def non_final(failure: Failure, reason: str) -> Failure:
    """A failure after which kubelet keeps the volume: itself, or Aborted, whose text adds the ``reason``."""
    if rpc.code_of(failure) in rpc.NON_FINAL_CODES:
        return failure
    return Aborted(f"{failure}; {reason}", failure.error_type)
