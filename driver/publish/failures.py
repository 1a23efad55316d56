"""Failures of the publish path: how they are counted and worded, and how they are answered."""

from driver.ports import Pod
from runtime import rpc
from runtime.errors import Aborted, Failure

METHOD = "NodePublishVolume"


def failed_step(error: Exception, error_type: str) -> Failure:
    """The failure to raise for whatever a step raised: with this ``error_type`` for the metrics, unless it has one of
    its own. A bug is logged and becomes Internal, so that it is counted too."""
    failure = rpc.as_failure(error, METHOD)
    failure.error_type = failure.error_type or error_type
    return failure


def failed_mount(error: Exception, error_type: str, pod: Pod) -> Failure:
    """``failed_step`` for what a provider, or the volume's tmpfs, rejects: the text of a failure begins with the phrase
    for which users search."""
    if isinstance(error, Failure):
        error.args = (f"failed to mount secrets store objects for pod {pod}, err: {error}",)
    return failed_step(error, error_type)


def non_final(failure: Failure, reason: str) -> Failure:
    """A failure after which kubelet keeps the volume: itself, or Aborted, whose text adds the ``reason``."""
    if rpc.code_of(failure) in rpc.NON_FINAL_CODES:
        return failure
    return Aborted(f"{failure}; {reason}", failure.error_type)
