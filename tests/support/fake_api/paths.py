"""Parses URLs of the Kubernetes API: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tests.support.fake_api.errors import ApiError, Object

# RFC 1123 subdomain, which nearly every object's name must be (apimachinery's validation.IsDNS1123Subdomain).
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_CLUSTER_SCOPED = frozenset(
    {
        "clusterroles",
        "clusterrolebindings",
        "csidrivers",
        "csinodes",
        "customresourcedefinitions",
        "namespaces",
        "nodes",
        "persistentvolumes",
        "subjectaccessreviews",
        "tokenreviews",
        "validatingadmissionpolicies",
        "validatingwebhookconfigurations",
    }
)
_VERBS: Mapping[str, str] = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True)
class Target:
    """What a URL names: an object, or a collection if ``name`` is empty (of all namespaces if ``namespace`` is too)."""

    group: str
    version: str
    resource: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def api_version(self) -> str:
        """As in objects, for example ``apps/v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """As in error messages, for example ``deployments.apps``."""
        return f"{self.resource}.{self.group}" if self.group else self.resource

    def named(self, name: str) -> "Target":
        """An object of this collection."""
        return replace(self, name=name)


def parse(path: str) -> Target:
    """Parse a path. Raises a 404 if it names no resource."""
    _, root, *parts = f"{path}///".split("/")
    while parts and not parts[-1]:
        parts.pop()
    if root == "api" and len(parts) >= 2:
        return _target("", parts[0], parts[1:], path)
    if root == "apis" and len(parts) >= 3:
        return _target(parts[0], parts[1], parts[2:], path)
    raise _unknown(path)


def verb_of(method: str, target: Target, query: Mapping[str, str]) -> str:
    """The verb as in roles and audit logs."""
    if method == "GET":
        if query.get("watch") in ("1", "true"):
            return "watch"
        return "get" if target.name else "list"
    verb = _VERBS.get(method, method.lower())
    return "deletecollection" if verb == "delete" and not target.name else verb


def path_of(item: Mapping[str, Any]) -> str:
    """The path of an object, from its kind, namespace (``default`` if it has none) and name."""
    version, metadata = str(item["apiVersion"]), item["metadata"]
    plural = plural_of(str(item["kind"]))
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    scope = "" if plural in _CLUSTER_SCOPED else f"/namespaces/{metadata.get('namespace') or 'default'}"
    return f"{root}{scope}/{plural}/{metadata['name']}"


def plural_of(kind: str) -> str:
    """The resource of a kind, by the naming convention of Kubernetes."""
    word = kind.lower()
    if word.endswith("y"):
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith("s") else f"{word}s"


def is_object_name(text: str) -> bool:
    """Whether ``text`` is a valid object name."""
    return _NAME.match(text) is not None


def is_custom(group: str) -> bool:
    """Whether a group is one of custom resources, which the API server treats differently in some details."""
    return "." in group and (not group.endswith(".k8s.io") or group.endswith(".x-k8s.io"))


def new_object(target: Target, body: Object) -> Target:
    """The target of a new object. Raises an ApiError for an invalid name or namespace."""
    metadata = body.get("metadata") or {}
    name, namespace = metadata.get("name") or "", metadata.get("namespace") or target.namespace
    if namespace != target.namespace:
        raise ApiError(400, "the namespace of the provided object does not match the namespace sent on the request")
    if not is_object_name(name):
        raise ApiError(422, f'{target.qualified} "{name}" is invalid: metadata.name', fields=["metadata.name"])
    if target.namespace == "" and target.resource not in _CLUSTER_SCOPED:
        raise ApiError(
            404 if is_custom(target.group) else 405, "the server does not allow this method on the requested resource"
        )
    return target.named(name)


def _target(group: str, version: str, parts: list[str], path: str) -> Target:
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2 and parts[2] not in ("status", "finalize"):
        namespace, parts = parts[1], parts[2:]
    if not all(parts) or len(parts) > 3:
        raise _unknown(path)
    resource, name, subresource = (*parts, "", "")[:3]
    return Target(group, version, resource, namespace, name, subresource)


def _unknown(path: str) -> ApiError:
    return ApiError(404, f"the server could not find the requested resource: {path}")
