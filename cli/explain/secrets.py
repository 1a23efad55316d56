"""Secrets that a pod wants, for its containers or for a volume, and that a class of it may make."""

import re
from collections.abc import Iterator

from cli.explain.answers import Answer, pod
from cli.explain.evidence import Evidence

# kubelet's sentences: for a Secret, and for a key of it.
_MISSING = re.compile(r'secret "([^"]+)" not found')
_NO_KEY = re.compile(r"couldn't find key (\S+) in Secret (\S+)")


def missing_secret(found: Evidence, message: str) -> Iterator[Answer]:
    """The answer if kubelet's message is that a Secret, or a key of it, does not exist."""
    start, key, missing = f"Pod {pod(found)} cannot start, because", _NO_KEY.search(message), _MISSING.search(message)
    if key:
        name = key[2].split("/")[-1]
        yield from _failed(found, name)
        yield Answer(
            f"{start} Secret {name} has no key {key[1]}.",
            "Add the key to the entry of the Secret in spec.secretObjects, or correct its name in the pod.",
        )
    if not missing:
        return
    name = missing[1]
    if name not in _made_by_classes(found):
        yield Answer(
            f"{start} Secret {name} does not exist, and none of its classes makes it.",
            f"Create it, or add secretName: {name} to spec.secretObjects of a class.",
        )
    yield from _failed(found, name)
    yield Answer(
        f"{start} Secret {name} is not made yet.",
        "If it stays so: is the chart's syncSecret.enabled true, and is the namespace in syncSecret.namespaces?",
    )


def _failed(found: Evidence, name: str) -> Iterator[Answer]:
    for event in found.events_of("FailedToCreateSecret"):
        if name in str(event.get("message")):
            yield Answer(
                f"Pod {pod(found)} cannot start, because Secret {name} could not be made: {event.get('message')}",
                "docs/operations.md, Messages of FailedToCreateSecret, says what to do.",
            )


def _made_by_classes(found: Evidence) -> set[str]:
    specs = [(item or {}).get("spec") or {} for item in found.classes.values()]
    return {str(entry.get("secretName")) for spec in specs for entry in spec.get("secretObjects") or ()}
