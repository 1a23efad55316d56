"""What a gRPC code means to kubelet, and how Go spells an error."""

import grpc

from runtime.errors import Failure
from runtime.rpc import NON_FINAL_CODES, RemoteFailure


class Transient(Failure):
    """kubelet itself could not do a step before the driver was asked to publish; it tries again and nothing is
    removed.
    """


class Finished(Failure):
    """A failure that kubelet takes as final although the driver's code may not be."""


def is_final(failure: Failure) -> bool:
    """Whether kubelet takes the operation as over: it failed and nothing is left to undo."""
    return isinstance(failure, Finished) or (isinstance(failure, RemoteFailure) and failure.code not in NON_FINAL_CODES)


def go_text(failure: Failure) -> str:
    """As it stands in kubelet's events: ``rpc error: code = NotFound desc = …``."""
    if not isinstance(failure, RemoteFailure):
        return str(failure)
    return f"rpc error: code = {_go_name(failure.code)} desc = {failure}"


def _go_name(code: grpc.StatusCode) -> str:
    if code is grpc.StatusCode.CANCELLED:
        return "Canceled"
    return code.name if code is grpc.StatusCode.OK else code.name.title().replace("_", "")
