"""Failures of the publish path: how they are counted and worded, and how they are answered."""

from runtime import rpc
from runtime.errors import Aborted, Failure

METHOD = "NodePublishVolume"
# In front of what the provider, or the tmpfs, does not do; users of the Go driver search for it.
MOUNT_FAILED = "failed to mount secrets store objects for pod {pod}, err: "


def counted(error: Exception, error_type: str, prefix: str = "") -> Failure:
    """The failure that an exception in a step amounts to, with the step's ``error_type`` for the metrics unless it has
    one of its own. A bug is logged and becomes Internal.

    ``prefix``, a phrase that users search for, is put in front of the text of an expected failure.
    """
    failure = rpc.as_failure(error, METHOD)
    failure.error_type = failure.error_type or error_type
    if failure is error:
        failure.args = (prefix + str(failure),)
    return failure


def non_final(failure: Failure, reason: str) -> Failure:
    """A failure after which kubelet keeps the volume: itself, or Aborted, whose text adds the ``reason``."""
    if rpc.code_of(failure) in rpc.NON_FINAL_CODES:
        return failure
    return Aborted(f"{failure}; {reason}", failure.error_type)
