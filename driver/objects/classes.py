"""SecretProviderClass objects, v1 or v1alpha1, as ``ports.ProviderClass``."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import astuple
from typing import Any

from driver.ports import REFRESH_ANNOTATION, ClassRef, ComposedFile, KeySource, ProviderClass, SecretObject

KIND, PLURAL = "SecretProviderClass", "secretproviderclasses"


def parse_class(document: Mapping[str, Any]) -> ProviderClass:
    """Raises ValueError, naming the field, if the type of a field is not the CRD's."""
    metadata, spec = _mapping(document, "metadata"), _mapping(document, "spec")
    provider, parameters = str(spec.get("provider") or ""), _strings(spec, "parameters")
    annotations = _strings(metadata, "annotations")
    files = tuple(_composed_file(item) for item in spec.get("files") or ())
    content: list[object] = [provider, sorted(parameters.items()), annotations.get(REFRESH_ANNOTATION, "")]
    if files:
        content.append([astuple(item) for item in files])
    return ProviderClass(
        class_ref=ClassRef(metadata.get("namespace") or "default", str(metadata.get("name", ""))),
        provider=provider,
        parameters=parameters,
        secret_objects=tuple(_secret_object(item) for item in spec.get("secretObjects") or ()),
        annotations=annotations,
        files=files,
        fingerprint=_fingerprint(*content),
    )


def _fingerprint(*content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _secret_object(item: Mapping[str, Any]) -> SecretObject:
    data = tuple((str(entry.get("objectName") or ""), str(entry.get("key") or "")) for entry in item.get("data") or ())
    return SecretObject(
        secret_name=str(item.get("secretName") or ""),
        type=str(item.get("type") or ""),
        data=data,
        labels=_strings(item, "labels"),
        annotations=_strings(item, "annotations"),
        data_from=key_sources(item),
    )


def key_sources(item: Mapping[str, Any]) -> tuple[KeySource, ...]:
    """The field ``dataFrom`` of an entry."""
    return tuple(
        KeySource(
            object_name=str(source.get("objectName") or ""),
            format=str(source.get("format") or ""),
            prefix=str(source.get("prefix") or ""),
            all=source.get("all") is True,
        )
        for source in item.get("dataFrom") or ()
    )


def _composed_file(item: Mapping[str, Any]) -> ComposedFile:
    objects = item.get("objects") or ()
    return ComposedFile(
        path=str(item.get("path") or ""),
        format=str(item.get("format") or ""),
        template=str(item.get("template") or ""),
        objects=tuple((str(entry.get("objectName") or ""), str(entry.get("key") or "")) for entry in objects),
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
