"""The boundary of all methods: the only place that ends a call with a status.

A ``Failure`` becomes its status code and its sentence. Any other exception is logged with its stack and answered as
INTERNAL without it.
"""

import asyncio
import time
from typing import Any

from google.protobuf.message import DecodeError

from runtime import errors, logs, redact
from runtime.rpc.services import Method
from runtime.status_codes import StatusCode, as_failure, code_of

log = logs.get(__name__)


class Call:
    """What a method may know of its call. ``deadline`` is event loop time, None without one."""

    def __init__(self, deadline: float | None) -> None:
        self._deadline = deadline

    def time_remaining(self) -> float | None:
        """The seconds until the caller gives up; None if it never does."""
        return None if self._deadline is None else max(0.0, self._deadline - asyncio.get_running_loop().time())

    def set_code(self, _: object) -> None:
        """Nothing: generated servicers call it before they raise NotImplementedError, which says the same."""

    set_details = set_code


Outcome = tuple[StatusCode, str, bytes]
"""Code, sentence and the bytes of the reply, which are empty unless the code is OK."""


class Calls:
    """Runs the calls of a server, and logs them at verbosity 5. In all texts that are made during a call, the secrets
    of its request are masked. ``idle`` is set while no call is running."""

    def __init__(self) -> None:
        self.idle = asyncio.Event()
        self.idle.set()
        self._running = 0

    def begin(self) -> None:
        """A call begins."""
        self._running += 1
        self.idle.clear()

    def end(self) -> None:
        """A call has ended, and its response was written."""
        self._running -= 1
        if not self._running:
            self.idle.set()

    async def run(self, method: Method, data: bytes, call: Call) -> Outcome:
        """Run one call."""
        started = time.monotonic()
        request = _parse(method, data)
        # Both lines are made outside of ``withholding``, which would have to prepare for a search, since they have no
        # values in them: the request is redacted by its fields, and the sentence has been.
        if log.enabled(logs.REQUEST_VERBOSITY):
            shown = None if request is None else redact.message(request)
            log.verbose(
                logs.REQUEST_VERBOSITY, "request", method=method.path, request=shown, deadline=call.time_remaining()
            )
        code, sentence, reply = StatusCode.CANCELLED, "", b""
        try:
            with redact.withholding(*(() if request is None else (request,))):
                code, sentence, reply = await _answer(method, request, call)
        finally:
            log.verbose(
                logs.REQUEST_VERBOSITY,
                "response",
                method=method.path,
                code=code.name,
                seconds=round(time.monotonic() - started, 6),
                message=sentence,
            )
        return code, sentence, reply


def _parse(method: Method, data: bytes) -> Any:
    """The request; None for bytes that are not one."""
    try:
        return method.parse(data)
    except DecodeError:
        return None


async def _answer(method: Method, request: Any, call: Call) -> Outcome:
    try:
        if request is None:
            raise errors.Internal("the request is not a message of the method's type")
        if method.handle is None:
            raise NotImplementedError
        reply = await method.handle(request, call)
        return StatusCode.OK, "", reply.SerializeToString()
    except NotImplementedError:  # also raised by a generated servicer for a method that is not overridden
        return StatusCode.UNIMPLEMENTED, "", b""
    except Exception as error:  # the boundary: no exception passes it other than as a status
        failure = as_failure(error, method.path)
        return code_of(failure), redact.text(failure), b""
