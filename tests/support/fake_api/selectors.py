"""Label and field selectors: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#api"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from tests.support.fake_api.errors import ApiError

Matcher = Callable[[Mapping[str, Any]], bool]
_SET = re.compile(r"(\S+)\s+(in|notin)\s+\(([^)]*)\)")
_EQUALITY = re.compile(r"([^=!\s]+)\s*(==|=|!=)\s*(\S*)")
# Commas separate requirements, except inside the parentheses of a set.
_COMMA = re.compile(r",(?![^(]*\))")


def matcher(query: Mapping[str, str]) -> Matcher:
    """A function that matches objects with ``labelSelector`` and ``fieldSelector``. Raises a 400 for an invalid one."""
    labels = [_label(text.strip()) for text in _parts(query.get("labelSelector", ""))]
    fields = [_field(text.strip()) for text in _parts(query.get("fieldSelector", ""))]

    def matches(item: Mapping[str, Any]) -> bool:
        found = (item.get("metadata") or {}).get("labels") or {}
        return all(test(found) for test in labels) and all(test(item) for test in fields)

    return matches


def _parts(text: str) -> list[str]:
    return [part for part in _COMMA.split(text) if part.strip()]


def _label(text: str) -> Matcher:
    if found := _SET.fullmatch(text):
        key, operator, values = found[1], found[2], {value.strip() for value in found[3].split(",")}
        if operator == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if found := _EQUALITY.fullmatch(text):
        key, value, wanted = found[1], found[3], found[2] != "!="
        return lambda labels: (labels.get(key) == value) is wanted
    if re.fullmatch(r"!?[^\s=!()]+", text):
        key, wanted = text.lstrip("!"), not text.startswith("!")
        return lambda labels: (key in labels) is wanted
    raise ApiError(400, f"unable to parse requirement: {text}")


def _field(text: str) -> Matcher:
    found = _EQUALITY.fullmatch(text)
    if found is None:
        raise ApiError(400, f"invalid field selector: {text}")
    steps, value, wanted = found[1].split("."), found[3], found[2] != "!="
    return lambda item: (_at(item, steps) == value) is wanted


def _at(item: Any, steps: list[str]) -> str:
    for step in steps:
        item = item.get(step) if isinstance(item, Mapping) else None
    return "" if item is None else str(item)
