"""A SecretProviderClass as it was written, v1 or v1alpha1, in our own type."""

from collections.abc import Mapping
from typing import Any

from driver.ports import ClassRef, ProviderClass, SecretObject


def parse_class(document: Mapping[str, Any]) -> ProviderClass:
    """Raises ValueError, naming the field, where one has another type than the CRD's."""
    metadata, spec = _mapping(document, "metadata"), _mapping(document, "spec")
    return ProviderClass(
        class_ref=ClassRef(metadata.get("namespace") or "default", str(metadata.get("name", ""))),
        provider=str(spec.get("provider") or ""),
        parameters=_strings(spec, "parameters"),
        secret_objects=tuple(_secret_object(item) for item in spec.get("secretObjects") or ()),
        annotations=_strings(metadata, "annotations"),
    )


def _secret_object(item: Mapping[str, Any]) -> SecretObject:
    data = tuple((str(entry.get("objectName") or ""), str(entry.get("key") or "")) for entry in item.get("data") or ())
    return SecretObject(
        secret_name=str(item.get("secretName") or ""),
        type=str(item.get("type") or ""),
        data=data,
        labels=_strings(item, "labels"),
        annotations=_strings(item, "annotations"),
    )


def _mapping(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key) or {}
    if not isinstance(value, Mapping):
        raise ValueError(f"{key} must be a map")
    return value


def _strings(document: Mapping[str, Any], key: str) -> dict[str, str]:
    for name, value in _mapping(document, key).items():
        if not isinstance(value, str):
            raise ValueError(f"{key}.{name} must be a string; put it in quotes")
    return dict(_mapping(document, key))
