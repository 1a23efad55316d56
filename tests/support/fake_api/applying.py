"""Server-side apply with one manager (https://kubernetes.io/docs/reference/using-api/server-side-apply/). Lists count
as one value."""

import copy
from typing import Any

from tests.support.fake_api.errors import ApiError, Object


def applied(item: Object, former: Object, body: Object, *, force: bool) -> Object:
    """The object after ``body`` was applied; ``former`` is what the manager applied before. Raises a 409 if it would
    overwrite what others have set since, unless it is forced."""
    result: Object = copy.deepcopy(item)
    conflicts: list[str] = []
    _merge(result, former, body, "", conflicts)
    if conflicts and not force:
        raise ApiError(409, f"Apply failed with {len(conflicts)} conflict(s): {', '.join(conflicts)}")
    return result


def _merge(item: Object, former: Object, body: Object, path: str, conflicts: list[str]) -> None:
    for key in former.keys() - body.keys():
        item.pop(key, None)
    for key, value in body.items():
        before: Any = former.get(key)
        if isinstance(value, dict):
            below = item.setdefault(key, {})
            _merge(below, before if isinstance(before, dict) else {}, value, f"{path}.{key}", conflicts)
            continue
        if key in item and item[key] not in (before, value):
            conflicts.append(f"{path}.{key}")
        item[key] = value
