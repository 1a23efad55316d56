"""Reads and writes of objects, with validation and admission, independent of HTTP."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.support.fake_api import applying, paths
from tests.support.fake_api.errors import ApiError, Object
from tests.support.fake_api.paths import Target
from tests.support.fake_api.store import Store, merge_patch

MERGE_PATCH, APPLY_PATCH = "application/merge-patch+json", "application/apply-patch+yaml"


@dataclass(frozen=True)
class Admission:
    """A write that is about to be stored: the new object, and the former one if it exists."""

    target: Target
    item: Object
    former: Object | None


Admitter = Callable[[Admission], None]
Reviewer = Callable[[Object], Object]


class Resources:
    """Objects of any group, version and resource. ``admitters`` get each write of a resource (``*``: of all): they may
    change the new object or raise an ApiError. ``reviewers`` return the status of objects that are created but never
    stored, such as TokenReviews."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.admitters: list[tuple[str, Admitter]] = []
        self.reviewers: dict[str, Reviewer] = {}
        self._kinds: dict[tuple[str, str], str] = {}
        # What was last applied to each object: by one manager, of whatever name.
        self._applied: dict[Target, Object] = {}

    def create(self, target: Target, body: Any) -> Object:
        """POST to a collection, or to a subresource with a reviewer."""
        reviewer = self.reviewers.get("/".join(filter(None, (target.resource, target.subresource))))
        if reviewer is not None and isinstance(body, dict):
            if target.subresource:
                # Of another group, as a TokenRequest is.
                return {**body, "metadata": {"name": target.name}, "status": reviewer(body)}
            # The real server takes both from the URL if the body of a built-in kind has neither, as OpenBao's has.
            item = _checked(target, {"apiVersion": target.api_version, "kind": target.resource, **body})
            return {"metadata": {}, **item, "status": reviewer(item)}
        item = _checked(target, body)
        if target.name:
            raise ApiError(405, "the server does not allow this method on the requested resource")
        named = paths.new_object(target, item)
        self._admit(named, item, None)
        self._kinds[target.group, target.resource] = item["kind"]
        return _versioned(target, self.store.create(named, item))

    def get(self, target: Target) -> Object:
        """GET of one object."""
        return _versioned(target, self.store.get(target))

    def listed(self, target: Target) -> tuple[list[Object], int]:
        """All objects of a collection, and the version of the list."""
        items, version = self.store.listed(target)
        return [_versioned(target, item) for item in items], version

    def kind(self, target: Target) -> str:
        """The kind of a collection's objects; empty if there never were any."""
        return self._kinds.get((target.group, target.resource), "")

    def replace(self, target: Target, body: Any) -> Object:
        """PUT."""
        item = _checked(target, body)
        if (item.get("metadata") or {}).get("name") != target.name:
            raise ApiError(400, "the name of the object does not match the name on the URL")
        return self._update(target, lambda _: copy.deepcopy(item))

    def patch(self, target: Target, content_type: str, body: Any, *, force: bool = False) -> Object:
        """PATCH, as a JSON merge patch or, of a whole object, as server-side apply."""
        kind = content_type.partition(";")[0].strip()
        if kind not in (MERGE_PATCH, APPLY_PATCH):
            raise ApiError(415, f"the fake API server takes {MERGE_PATCH} and {APPLY_PATCH} only, not {content_type}")
        if not isinstance(body, dict):
            raise ApiError(400, "the body of the patch is not a JSON object")
        if kind == APPLY_PATCH:
            return self._apply(target, _checked(target, body), force)
        return self._update(target, lambda former: _merged(former, body))

    def _apply(self, target: Target, body: Object, force: bool) -> Object:
        former = self._applied.get(target, {})
        try:
            self.store.get(target)
        except ApiError:
            result = self.create(target.named(""), body)
        else:
            result = self._update(target, lambda item: applying.applied(item, former, body, force=force))
        self._applied[target] = body
        return result

    def delete(self, target: Target, options: Any = None) -> Object:
        """DELETE of one object."""
        return _versioned(target, self.store.delete(target, (options or {}).get("preconditions")))

    def _update(self, target: Target, change: Callable[[Object], Object]) -> Object:
        def admitted(former: Object) -> Object:
            item = change(former)
            if target.subresource:
                if target.subresource != "status":
                    raise ApiError(404, "the server could not find the requested resource")
                item = {**former, "status": item.get("status")}
            self._admit(target, item, former)
            return item

        return _versioned(target, self.store.update(target, admitted))

    def _admit(self, target: Target, item: Object, former: Object | None) -> None:
        for resource, admitter in self.admitters:
            if resource in ("*", target.resource):
                admitter(Admission(target, item, former))


def _merged(former: Object, patch: Object) -> Object:
    result: Object = copy.deepcopy(merge_patch(former, patch))
    uid = result.get("metadata", {}).get("uid", "")
    if uid not in ("", former["metadata"]["uid"]):
        raise ApiError(422, "metadata.uid: field is immutable", fields=["metadata.uid"])
    return result


def _checked(target: Target, body: Any) -> Object:
    if not isinstance(body, dict):
        raise ApiError(400, "the body of the request is not a JSON object")
    if not body.get("kind") or body.get("apiVersion") != target.api_version:
        raise ApiError(
            400, f"the object provided has no kind, or its apiVersion is not that of the URL ({target.api_version})"
        )
    return copy.deepcopy(body)


def _versioned(target: Target, item: Object) -> Object:
    """The object in the requested API version; all versions of a resource share their objects."""
    return {**item, "apiVersion": target.api_version}
