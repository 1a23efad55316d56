"""What is wrong with a pod whose volumes are mounted: Secrets that its containers want, and old content."""

import re
from collections.abc import Iterator

from cli.explain.answers import Answer, pod, waiting_states
from cli.explain.evidence import Evidence, event_time

_SECRET_MISSING = re.compile(r'secret "([^"]+)" not found|references non-existent secret key: (\S+)')


def _secret(found: Evidence) -> Iterator[Answer]:
    """Secrets that the pod's containers, or its classes, want."""
    failures = found.events_of("FailedToCreateSecret")
    for waiting in waiting_states(found):
        match = _SECRET_MISSING.search(str(waiting.get("message")))
        if not match:
            continue
        name = (match[1] or match[2]).split("/")[-1]
        if name not in _secret_names(found):
            yield Answer(
                f"Pod {pod(found)} cannot start, because Secret {name} does not exist, and none of its classes makes "
                "it.",
                f"Create it, or add secretName: {name} to spec.secretObjects of a class.",
            )
        event = next((event for event in failures if name in str(event.get("message"))), None)
        if event is not None:
            yield Answer(
                f"Pod {pod(found)} cannot start, because Secret {name} could not be made: {event.get('message')}",
                "docs/operations.md, Messages of FailedToCreateSecret, says what to do.",
            )
        yield Answer(
            f"Pod {pod(found)} cannot start, because Secret {name} is not made yet.",
            "If it stays so: is the chart's syncSecret.enabled true, and is the namespace in syncSecret.namespaces?",
        )
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
        if failure:
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


def _secret_names(found: Evidence) -> set[str]:
    entries = [
        entry for item in found.classes.values() for entry in (item or {}).get("spec", {}).get("secretObjects") or ()
    ]
    return {str(entry.get("secretName")) for entry in entries}


RULES = (_secret, _container, _content)
