"""Pods and Secrets, as far as inline CSI volumes need them: parsed from YAML, validated, immutable."""

import base64
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from runtime.errors import ConfigurationError

# Namespace of the uid of a pod that has none: derived from its name, so that a restarted stub finds its volumes again.
_UIDS = uuid.UUID("7e0c6a5e-65b8-4b44-9d32-6c1b8f5b2d11")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_UID = re.compile(r"[A-Za-z0-9][-A-Za-z0-9]*")


@dataclass(frozen=True)
class Volume:
    """One inline CSI volume of a pod: the fields of the ``csi`` entry."""

    name: str
    driver: str
    read_only: bool
    fs_type: str
    attributes: Mapping[str, str]
    secret: str
    """Name of the Secret in nodePublishSecretRef; empty if there is none."""


@dataclass(frozen=True)
class Pod:
    """The fields of a pod that reach a CSI driver."""

    uid: str
    name: str
    namespace: str
    service_account: str
    fs_group: int | None
    volumes: tuple[Volume, ...]

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Secret:
    """A Secret with decoded data."""

    namespace: str
    name: str
    data: Mapping[str, str]


def load(path: Path) -> list[Pod | Secret]:
    """The pods and Secrets of a YAML file; objects of other kinds are ignored. ConfigurationError if it is invalid."""
    try:
        documents = list(yaml.safe_load_all(path.read_text()))
        kinds = [(document, document.get("kind")) for document in documents if document is not None]
        return [
            parse_pod(body) if kind == "Pod" else parse_secret(body)
            for body, kind in kinds
            if kind in ("Pod", "Secret")
        ]
    # PyYAML raises many kinds of errors for a value like the date 2001-02-30.
    except (OSError, yaml.YAMLError, ArithmeticError, AttributeError, LookupError, RecursionError, ValueError) as error:
        raise ConfigurationError(f"cannot read pods from {path}: {error}") from None


def parse_pod(body: Mapping[str, Any]) -> Pod:
    """A pod, which must have an inline CSI volume; ConfigurationError if it is invalid."""
    metadata, spec = _mapping(body, "metadata"), _mapping(body, "spec")
    name, namespace = str(metadata.get("name", "")), str(metadata.get("namespace", "default"))
    volumes = tuple(
        _volume(entry, name) for entry in spec.get("volumes") or () if isinstance(entry, dict) and "csi" in entry
    )
    uid = str(metadata.get("uid") or uuid.uuid5(_UIDS, f"{namespace}/{name}"))
    if not name or not volumes or not _UID.fullmatch(uid):
        raise ConfigurationError(
            f"pod {namespace}/{name or '?'}: it must have a name, a volume with a csi entry, "
            "and a uid of letters, digits and dashes, if any"
        )
    group = (spec.get("securityContext") or {}).get("fsGroup")
    account = str(spec.get("serviceAccountName") or "default")
    return Pod(uid, name, namespace, account, None if group is None else int(group), volumes)


def parse_secret(body: Mapping[str, Any]) -> Secret:
    """A Secret, with the values of ``data`` (base64) and ``stringData``."""
    metadata = _mapping(body, "metadata")
    data = {key: base64.b64decode(value).decode("utf-8", "replace") for key, value in (body.get("data") or {}).items()}
    data.update(body.get("stringData") or {})
    return Secret(str(metadata.get("namespace", "default")), str(metadata.get("name", "")), data)


def _volume(entry: Mapping[str, Any], pod: str) -> Volume:
    name, csi = str(entry.get("name", "")), _mapping(entry, "csi")
    if not _LABEL.fullmatch(name) or not csi.get("driver"):
        raise ConfigurationError(
            f"pod {pod}: a csi volume must have a name (lower case letters, digits, dashes) and a driver: {name!r}"
        )
    attributes = csi.get("volumeAttributes") or {}
    if any(not isinstance(value, str) for value in attributes.values()):
        raise ConfigurationError(
            f"pod {pod}, volume {name}: the values of volumeAttributes must be strings: quote them"
        )
    return Volume(
        name=name,
        driver=str(csi["driver"]),
        read_only=bool(csi.get("readOnly", False)),
        fs_type=str(csi.get("fsType") or ""),
        attributes=dict(attributes),
        secret=str((csi.get("nodePublishSecretRef") or {}).get("name", "")),
    )


def _mapping(body: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = body.get(key)
    if not isinstance(value, dict):
        raise ConfigurationError(f"{body.get('kind', 'pod')}: {key} is missing or not a mapping")
    return value
