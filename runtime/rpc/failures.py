"""How a call fails, as its caller learns it."""

from typing import Final

from h2.errors import ErrorCodes

from runtime.rpc import wire
from runtime.status_codes import StatusCode

# What the end of a stream without a status means: "Errors" in
# https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
_RESET_CODES: Final[dict[int, StatusCode]] = {
    ErrorCodes.REFUSED_STREAM: StatusCode.UNAVAILABLE,
    ErrorCodes.CANCEL: StatusCode.CANCELLED,
    ErrorCodes.ENHANCE_YOUR_CALM: StatusCode.RESOURCE_EXHAUSTED,
    ErrorCodes.INADEQUATE_SECURITY: StatusCode.PERMISSION_DENIED,
}


class CallFailed(Exception):
    """A call that has no reply; ``details`` is the server's text, or what happened to the connection."""

    def __init__(self, code: StatusCode, details: str) -> None:
        super().__init__(f"{code.name}: {details}")
        self.code, self.details = code, details

    @property
    def is_unanswered(self) -> bool:
        """Whether the deadline has passed, as the client noticed."""
        return self.code is StatusCode.DEADLINE_EXCEEDED and self.details == wire.DEADLINE_DETAILS


class Refused(CallFailed):
    """The server has not begun the call (https://www.rfc-editor.org/rfc/rfc9113#section-8.7)."""


class Unsent(Refused):
    """The server has not even received it."""


def failure_of_reset(code: int) -> CallFailed:
    """What the server has said by ending a call's stream with an error code of HTTP/2."""
    kind = Refused if code == ErrorCodes.REFUSED_STREAM else CallFailed
    status = _RESET_CODES.get(code, StatusCode.INTERNAL)
    return kind(status, f"the server ended the call, with HTTP/2's error code {code}")
