"""Secrets that a store makes for each pod, in a class whose annotations let pods have the same content."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from cli.findings import Level
from cli.validate.problems import Checked
from driver.ports import ProviderClass
from driver.publish.fetching.settings import LONGEST


def check(found: ProviderClass) -> Iterator[Checked]:
    """A warning for each such object, as far as it shows in the class. docs/outages.md says what goes wrong."""
    annotation = next((name for name in LONGEST if name in found.annotations), "")
    if not annotation:
        return
    for number, item in enumerate(_objects(found.parameters.get("objects", "")), 1):
        if why := _why(item):
            yield Checked(
                ("metadata", "annotations", annotation),
                f"object {number} ({item.get('objectName')}) is made for each pod ({why}): pods would share one that "
                "may end with the first of them; remove the annotation, or move the object to a class of its own",
                Level.WARNING,
            )


def _objects(text: str) -> list[Mapping[str, Any]]:
    try:
        found = yaml.safe_load(text)
        items = found.get("array", ()) if isinstance(found, dict) else found
        items = [yaml.safe_load(item) if isinstance(item, str) else item for item in items]
    except (yaml.YAMLError, RecursionError, TypeError, ValueError):  # what is wrong is said by others
        return []
    return [item if isinstance(item, dict) else {} for item in items]


def _why(item: Mapping[str, Any]) -> str:
    """What says so in an object; empty if nothing does. A read of ``database/creds/app`` says nothing."""
    if item.get("secretArgs"):
        return "secretArgs"
    if str(item.get("method", "GET")).upper() in ("PUT", "POST"):
        return f"method: {item['method']}"
    return "scope: pod" if item.get("scope") == "pod" else ""
