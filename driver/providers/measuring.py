"""Measures calls to providers."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from google.protobuf.message import Message

from protos import provider_pb2
from runtime import rpc

# Gets the provider's name, the method, the gRPC code or ERROR_IN_REPLY, and the seconds of each call.
OnCalled = Callable[[str, str, str, float], None]
ERROR_IN_REPLY = "ErrorInReply"


class ReplyTooLarge(Exception):
    """The reply is larger than was allowed for this call, and may be received as a large one."""


class Outcome:
    """How a call ended, for ``measured``; canceled unless something else is said."""

    code = "Canceled"

    def answered(self, reply: Message) -> None:
        """There is a reply, which may say that the provider has failed."""
        failed = isinstance(reply, provider_pb2.MountResponse) and reply.error.code
        self.code = ERROR_IN_REPLY if failed else "OK"


@contextmanager
def measured(on_called: OnCalled, provider: str, method: str) -> Iterator[Outcome]:
    """Report the call inside. One that ends with ReplyTooLarge is made again at once, and does not count."""
    began, outcome = time.monotonic(), Outcome()
    try:
        yield outcome
    except ReplyTooLarge:
        outcome.code = ""
        raise
    except rpc.RemoteFailure as failure:
        outcome.code = rpc.go_name(failure.code)
        raise
    finally:
        if outcome.code:
            on_called(provider, method, outcome.code, time.monotonic() - began)
