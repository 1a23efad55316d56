"""SecretProviderClass objects, v1 or v1alpha1, as ``ports.ProviderClass``."""

from collections.abc import Mapping
from typing import Any

from driver.objects import GROUP_VERSION
from driver.ports import ClassRef, ProviderClass, SecretObject

KIND = "SecretProviderClass"


def classes_path(class_ref: ClassRef | None = None) -> str:
    """The API path of one class, or of all classes in all namespaces."""
    if class_ref is None:
        return f"/apis/{GROUP_VERSION}/secretproviderclasses"
    return f"/apis/{GROUP_VERSION}/namespaces/{class_ref.namespace}/secretproviderclasses/{class_ref.name}"


def parse_class(document: Mapping[str, Any]) -> ProviderClass:
    """Raises ValueError, naming the field, if the type of a field is not the CRD's."""
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
