"""gRPC's status codes, and which failure has which: this table is the only place that knows."""

from enum import Enum, IntEnum

from runtime import errors, logs

log = logs.get(__name__)


class StatusCode(IntEnum):
    """The codes by the names and numbers of https://github.com/grpc/grpc/blob/master/doc/statuscodes.md. grpc's own
    type would bring its core with it."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


STATUS_CODES: dict[type[errors.Failure], StatusCode] = {
    errors.Failure: StatusCode.UNKNOWN,
    errors.InvalidRequest: StatusCode.INVALID_ARGUMENT,
    errors.NotFound: StatusCode.NOT_FOUND,
    errors.PreconditionFailed: StatusCode.FAILED_PRECONDITION,
    errors.PermissionDenied: StatusCode.PERMISSION_DENIED,
    errors.ResourceExhausted: StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: StatusCode.DEADLINE_EXCEEDED,
    errors.Aborted: StatusCode.ABORTED,
    errors.Unimplemented: StatusCode.UNIMPLEMENTED,
    errors.Internal: StatusCode.INTERNAL,
}
# After these codes kubelet assumes that the driver may still be at work: it keeps the volume and asks again. After any
# other error code it treats the volume as never published (isFinalError in
# https://github.com/kubernetes/kubernetes/blob/master/pkg/volume/csi/csi_client.go).
NON_FINAL_CODES = frozenset(
    {
        StatusCode.CANCELLED,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.UNAVAILABLE,
        StatusCode.RESOURCE_EXHAUSTED,
        StatusCode.ABORTED,
    }
)


class RemoteFailure(errors.Failure):
    """Another gRPC server's own error; its code passes through to our caller. ``code`` may be grpc's own type."""

    def __init__(self, code: Enum, sentence: str) -> None:
        super().__init__(sentence)
        self.code = StatusCode[code.name]


def code_of(failure: errors.Failure) -> StatusCode:
    """The status code of the nearest class in the table; a remote failure keeps the code that it came with."""
    if isinstance(failure, RemoteFailure):
        return failure.code
    return next(STATUS_CODES[cls] for cls in type(failure).__mro__ if cls in STATUS_CODES)


def go_name(code: StatusCode) -> str:
    """A code in Go's spelling: ``DEADLINE_EXCEEDED`` → ``DeadlineExceeded``."""
    return {"OK": "OK", "CANCELLED": "Canceled"}.get(code.name) or "".join(
        part.capitalize() for part in code.name.split("_")
    )


def as_failure(error: Exception, method: str) -> errors.Failure:
    """An expected failure is returned as it is. Any other exception that a method raised is a bug: it is logged with
    its stack, and the caller sees nothing of it but ``Internal``."""
    if isinstance(error, errors.Failure):
        return error
    log.error("Unhandled exception in a gRPC method", exc=error, method=method)
    return errors.Internal("internal error; the driver's log has the details")
