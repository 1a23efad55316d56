"""SecretProviderClass objects, v1 or v1alpha1, as ``ports.ProviderClass``."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any

from driver import limits
from driver.ports import REFRESH_ANNOTATION, ClassRef, ComposedFile, KeySource, ProviderClass, SecretObject

KIND, PLURAL = "SecretProviderClass", "secretproviderclasses"
# Others are not ours: they are not remembered, and a change of them is no change of the class.
_ANNOTATIONS = "secrets-store.csi.k8s.io/"


def parse_class(document: Mapping[str, Any]) -> ProviderClass:
    """Raises ValueError, naming the field, if the type of a field is not the CRD's, or if the class has too many
    entries."""
    metadata, spec = _mapping(document, "metadata"), _mapping(document, "spec")
    _check_size(spec)
    provider, parameters = _string(spec, "provider"), _strings(spec, "parameters")
    annotations = {key: text for key, text in _strings(metadata, "annotations").items() if key.startswith(_ANNOTATIONS)}
    files = tuple(map(_composed_file, _mappings(spec, "files")))
    content: list[object] = [provider, sorted(parameters.items()), annotations.get(REFRESH_ANNOTATION, "")]
    if files:
        content.append([astuple(item) for item in files])
    return ProviderClass(
        class_ref=ClassRef(_string(metadata, "namespace") or "default", _string(metadata, "name")),
        provider=provider,
        parameters=parameters,
        secret_objects=tuple(map(_secret_object, _mappings(spec, "secretObjects"))),
        annotations=annotations,
        files=files,
        fingerprint=_fingerprint(*content),
        uid=_string(metadata, "uid"),
    )


def _check_size(spec: Mapping[str, Any]) -> None:
    """An empty entry is two characters for the API server, and hundreds of bytes in memory."""
    most = limits.MAX_CLASS_ENTRIES
    total = sum(_length(spec.get(part)) for part in ("parameters", "secretObjects", "files"))
    if total <= most:  # else looking at each takes too long
        parts = ("data", "dataFrom", "labels", "annotations", "objects")
        for item in (*_mappings(spec, "secretObjects"), *_mappings(spec, "files")):
            total += sum(_length(item.get(part)) for part in parts)
    if total > most:
        raise ValueError(
            f"its parameters, secretObjects, files and their entries are more than {most}: divide them among several "
            "classes"
        )


def _length(value: Any) -> int:
    return len(value) if isinstance(value, (list, tuple, Mapping)) else 0


def _fingerprint(*content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _secret_object(item: Mapping[str, Any]) -> SecretObject:
    data = tuple((_string(entry, "objectName"), _string(entry, "key")) for entry in _mappings(item, "data"))
    return SecretObject(
        secret_name=_string(item, "secretName"),
        type=_string(item, "type"),
        data=data,
        labels=_strings(item, "labels"),
        annotations=_strings(item, "annotations"),
        data_from=key_sources(item),
        deletion_policy=_string(item, "deletionPolicy"),
    )


def key_sources(item: Mapping[str, Any]) -> tuple[KeySource, ...]:
    """The field ``dataFrom`` of an entry. Raises ValueError, as ``parse_class``."""
    return tuple(
        KeySource(
            object_name=_string(source, "objectName").strip(),
            format=_string(source, "format").strip(),
            prefix=_string(source, "prefix"),
            all=source.get("all") is True,
        )
        for source in _mappings(item, "dataFrom")
    )


def _composed_file(item: Mapping[str, Any]) -> ComposedFile:
    objects = _mappings(item, "objects")
    return ComposedFile(
        path=_string(item, "path").strip(),
        format=_string(item, "format").strip(),
        template=_string(item, "template"),
        objects=tuple((_string(entry, "objectName").strip(), _string(entry, "key").strip()) for entry in objects),
    )


def _mapping(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key) or {}
    if not isinstance(value, Mapping):
        raise ValueError(f"{key} must be a map")
    return value


def _mappings(document: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    value = document.get(key) or ()
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, Mapping) for item in value):
        raise ValueError(f"{key} must be a list of maps")
    return value


def _string(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str | None):
        raise ValueError(f"{key} must be a string; put it in quotes")
    return value or ""


def _strings(document: Mapping[str, Any], key: str) -> dict[str, str]:
    for name, value in _mapping(document, key).items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise ValueError(f"{key}.{name} must be a string; put it in quotes")
    return dict(_mapping(document, key))
