"""An answer, and what the rules ask of a pod."""

from collections.abc import Iterator
from dataclasses import dataclass

from cli.explain.evidence import Evidence

# While these last, kubelet is not yet, or may be not yet, done with the volumes.
_MOUNTING = (None, "ContainerCreating", "PodInitializing")


@dataclass(frozen=True)
class Answer:
    """``problem``: whether something is wrong. ``advice`` is what to do, empty if there is nothing to do."""

    sentence: str
    advice: str = ""
    problem: bool = True


def pod(found: Evidence) -> str:
    """The pod, as sentences name it."""
    return f"{found.namespace}/{found.name}"


def _container_statuses(found: Evidence) -> list[dict[str, object]]:
    status = found.pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def started(found: Evidence) -> bool:
    """Whether the volumes are mounted: a container has run, or waits for something that comes later."""
    for item in _container_statuses(found):
        state = item.get("state")
        state = state if isinstance(state, dict) else {}
        if "running" in state or "terminated" in state or item.get("lastState"):
            return True
        if state.get("waiting") and state["waiting"].get("reason") not in _MOUNTING:
            return True
    return False


def waiting_states(found: Evidence) -> Iterator[dict[str, object]]:
    """Why containers wait, if that is not for their volumes."""
    for item in _container_statuses(found):
        state = item.get("state")
        waiting = state.get("waiting") if isinstance(state, dict) else None
        if waiting and waiting.get("reason") not in _MOUNTING:
            yield waiting
