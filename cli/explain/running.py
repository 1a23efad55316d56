"""What is wrong with a pod whose volumes are mounted: Secrets that its containers want, and old content."""

from collections.abc import Iterator

from cli.explain.answers import Answer, pod, waiting_states
from cli.explain.evidence import Evidence, event_time
from cli.explain.secrets import missing_secret
from driver.publish.reporting import SERVED_LAST_KNOWN_GOOD


def _secret(found: Evidence) -> Iterator[Answer]:
    """Secrets that the pod's containers, or its classes, want."""
    for waiting in waiting_states(found):
        yield from missing_secret(found, str(waiting.get("message")))
    failures = found.events_of("FailedToCreateSecret")
    newest = {event.get("reason"): event_time(event) for event in reversed(found.events)}
    if failures and newest.get("SyncedSecret", -1.0) < event_time(failures[0]):
        yield Answer(f"Pod {pod(found)} runs, but a Secret of it could not be written: {failures[0].get('message')}")


def _container(found: Evidence) -> Iterator[Answer]:
    for waiting in waiting_states(found):
        yield Answer(
            f"The volumes of pod {pod(found)} are mounted; a container of it waits for something else: "
            f"{waiting.get('reason')}: {waiting.get('message', 'see its log')}",
            "This is not the driver's.",
        )


def _content(found: Evidence) -> Iterator[Answer]:
    """Pods that run: how old the content is."""
    for item in found.statuses:
        failure = (item.get("status") or {}).get("lastFailure")
        if failure and failure.get("reason") == SERVED_LAST_KNOWN_GOOD:
            yield Answer(
                f"Pod {pod(found)} runs with content that its node had fetched before, as its class allows: "
                f"{failure.get('message')}",
                "The driver asks every few seconds, and replaces the content when the provider answers: look at the "
                "provider's pod on this node, and at its store.",
            )
        elif failure:
            since = (item.get("status") or {}).get("lastRefresh", "its start")
            yield Answer(
                f"Pod {pod(found)} runs with the content of {since}, because the refresh has failed "
                f"{failure.get('count')} times: {failure.get('message')}",
                "It is tried again every minute, and at once when the class changes.",
            )
    volumes = f"{len(found.volumes)} volume{'s' if len(found.volumes) != 1 else ''}"
    if len(found.statuses) < len(found.volumes) and "pod statuses" not in "".join(found.unknown):
        yield Answer(
            f"Pod {pod(found)} runs, but only {len(found.statuses)} of its {volumes} has a pod status.",
            "If the driver's log has no error, somebody has deleted it; it is written again when the content changes.",
        )
    if found.csi_driver and not (found.csi_driver.get("spec") or {}).get("requiresRepublish"):
        yield Answer(
            f"Pod {pod(found)} is fine: {volumes}. Its content is that of its start, because rotation is off.",
            "The chart's enableSecretRotation=true turns it on.",
            problem=False,
        )
    yield Answer(f"Pod {pod(found)} is fine: {volumes}, refreshed without an error.", problem=False)


RULES = (_secret, _container, _content)
