"""How kubelet classifies a failure, and how Go formats a gRPC error."""

from runtime.errors import Failure
from runtime.rpc import NON_FINAL_CODES, RemoteFailure, go_name


class Transient(Failure):
    """kubelet failed before it asked the driver to publish: it tries again and removes nothing."""


class Final(Failure):
    """A failure that kubelet treats as final even if the driver's code is not."""


def is_final(failure: Failure) -> bool:
    """Whether kubelet regards the operation as ended: it has failed, and nothing is left to undo."""
    return isinstance(failure, Final) or (isinstance(failure, RemoteFailure) and failure.code not in NON_FINAL_CODES)


def go_text(failure: Failure) -> str:
    """The failure as in kubelet's events: ``rpc error: code = NotFound desc = …``."""
    if not isinstance(failure, RemoteFailure):
        return str(failure)
    return f"rpc error: code = {go_name(failure.code)} desc = {failure}"
