"""Objects in the representation that Accept asks for: whole, or their metadata only
(https://kubernetes.io/docs/reference/using-api/api-concepts/#alternate-representations-of-resources)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.support.fake_api import paths
from tests.support.fake_api.errors import Object
from tests.support.fake_api.paths import Target

_META = "meta.k8s.io/v1"


def representation(headers: Mapping[str, str]) -> Callable[[Object], Object]:
    """The function that converts an object to the representation asked for."""
    return _partial if _wants_partial(headers) else _whole


def collection(
    target: Target, kind: str, items: Sequence[Object], metadata: Object, headers: Mapping[str, str]
) -> Object:
    """A list. Items of built-in kinds have neither kind nor apiVersion, as in the real server's lists."""
    if _wants_partial(headers):
        shown = [_partial(item) for item in items]
        return {"kind": "PartialObjectMetadataList", "apiVersion": _META, "metadata": metadata, "items": shown or None}
    shown = list(items) if paths.is_custom(target.group) else [_untyped(item) for item in items]
    return {"kind": f"{kind}List", "apiVersion": target.api_version, "metadata": metadata, "items": shown}


def bookmark(target: Target, version: int, headers: Mapping[str, str]) -> Object:
    """The object of a BOOKMARK event."""
    metadata = {"resourceVersion": str(version), "creationTimestamp": None}
    if _wants_partial(headers):
        return {"kind": "PartialObjectMetadata", "apiVersion": _META, "metadata": metadata}
    return {"kind": target.resource, "apiVersion": target.api_version, "metadata": metadata}


def _wants_partial(headers: Mapping[str, str]) -> bool:
    return "as=PartialObjectMetadata" in headers.get("Accept", "")


def _partial(item: Object) -> Object:
    return {"kind": "PartialObjectMetadata", "apiVersion": _META, "metadata": item["metadata"]}


def _whole(item: Object) -> Object:
    return item


def _untyped(item: Mapping[str, Any]) -> Object:
    return {key: value for key, value in item.items() if key not in ("kind", "apiVersion")}
