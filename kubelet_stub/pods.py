"""Pods and Secrets, as far as inline CSI volumes need them: read from YAML, checked, and frozen."""

import base64
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from runtime.errors import ConfigurationError

# A pod of a file has no uid; one made from its name lets a restarted stub find the pod's volumes again.
_UIDS = uuid.UUID("7e0c6a5e-65b8-4b44-9d32-6c1b8f5b2d11")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_UID = re.compile(r"[A-Za-z0-9][-A-Za-z0-9]*")


@dataclass(frozen=True)
class Volume:
    """One inline CSI volume of a pod, by the fields of the pod's ``csi`` entry."""

    name: str
    driver: str
    read_only: bool
    fs_type: str
    attributes: Mapping[str, str]
    secret: str
    """The Secret that nodePublishSecretRef names, in the pod's namespace; empty: none."""


@dataclass(frozen=True)
class Pod:
    """What kubelet tells a driver of a pod."""

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
    """A Secret's decoded data."""

    namespace: str
    name: str
    data: Mapping[str, str]


def load(path: Path) -> list[Pod | Secret]:
    """The pods and Secrets of a YAML file; other kinds in it are passed over."""
    try:
        documents = list(yaml.safe_load_all(path.read_text()))
        found = [(document, document.get("kind")) for document in documents if document is not None]
        return [
            parse_pod(body) if kind == "Pod" else parse_secret(body)
            for body, kind in found
            if kind in ("Pod", "Secret")
        ]
    except (OSError, yaml.YAMLError, AttributeError) as error:
        raise ConfigurationError(f"cannot read pods from {path}: {error}") from None


def parse_pod(body: Mapping[str, Any]) -> Pod:
    """A pod with at least one inline CSI volume; a ConfigurationError tells what is wrong with it."""
    metadata, spec = _table(body, "metadata"), _table(body, "spec")
    name, namespace = str(metadata.get("name", "")), str(metadata.get("namespace", "default"))
    volumes = tuple(
        _volume(entry, name) for entry in spec.get("volumes") or () if isinstance(entry, dict) and "csi" in entry
    )
    uid = str(metadata.get("uid") or uuid.uuid5(_UIDS, f"{namespace}/{name}"))
    if not name or not volumes or not _UID.fullmatch(uid):
        raise ConfigurationError(
            f"pod {namespace}/{name or '?'}: it needs a name, a plain uid or none, and a volume with a csi entry"
        )
    group = (spec.get("securityContext") or {}).get("fsGroup")
    account = str(spec.get("serviceAccountName") or "default")
    return Pod(uid, name, namespace, account, None if group is None else int(group), volumes)


def parse_secret(body: Mapping[str, Any]) -> Secret:
    """A Secret, from ``data`` (base64) and ``stringData``."""
    metadata = _table(body, "metadata")
    data = {key: base64.b64decode(value).decode("utf-8", "replace") for key, value in (body.get("data") or {}).items()}
    data.update(body.get("stringData") or {})
    return Secret(str(metadata.get("namespace", "default")), str(metadata.get("name", "")), data)


def _volume(entry: Mapping[str, Any], pod: str) -> Volume:
    name, csi = str(entry.get("name", "")), _table(entry, "csi")
    if not _LABEL.fullmatch(name) or not csi.get("driver"):
        raise ConfigurationError(
            f"pod {pod}: a csi volume needs a name (lower case, digits, dashes) and a driver, not {name!r}"
        )
    attributes = csi.get("volumeAttributes") or {}
    if any(not isinstance(value, str) for value in attributes.values()):
        raise ConfigurationError(
            f"pod {pod}, volume {name}: the values of volumeAttributes must be strings (quote them)"
        )
    return Volume(
        name=name,
        driver=str(csi["driver"]),
        read_only=bool(csi.get("readOnly", False)),
        fs_type=str(csi.get("fsType") or ""),
        attributes=dict(attributes),
        secret=str((csi.get("nodePublishSecretRef") or {}).get("name", "")),
    )


def _table(body: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = body.get(key)
    if not isinstance(found, dict):
        raise ConfigurationError(f"{body.get('kind', 'pod')}: {key} is missing or no mapping")
    return found
