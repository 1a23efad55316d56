"""Which failure has which gRPC status code: this table is the only place that knows."""

import grpc

from runtime import errors, logs

log = logs.get(__name__)

STATUS_CODES: dict[type[errors.Failure], grpc.StatusCode] = {
    errors.Failure: grpc.StatusCode.UNKNOWN,
    errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.PreconditionFailed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Aborted: grpc.StatusCode.ABORTED,
    errors.Unimplemented: grpc.StatusCode.UNIMPLEMENTED,
    errors.Internal: grpc.StatusCode.INTERNAL,
}
# After these codes kubelet assumes that the driver may still be at work: it keeps the volume and asks again. After any
# other error code it treats the volume as never published (isFinalError in
# https://github.com/kubernetes/kubernetes/blob/master/pkg/volume/csi/csi_client.go).
NON_FINAL_CODES = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
    }
)


class RemoteFailure(errors.Failure):
    """Another gRPC server's own error; its code passes through to our caller."""

    def __init__(self, code: grpc.StatusCode, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def code_of(failure: errors.Failure) -> grpc.StatusCode:
    """The status code of the nearest class in the table; a remote failure keeps the code that it came with."""
    if isinstance(failure, RemoteFailure):
        return failure.code
    return next(STATUS_CODES[cls] for cls in type(failure).__mro__ if cls in STATUS_CODES)


def go_name(code: grpc.StatusCode) -> str:
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
