"""An entry of ``spec.secretObjects``: what is wrong with it, and the data that it takes from the files of a volume.

The failures are PreconditionFailed, name the field and say what to do.
"""

import re
from collections.abc import Collection, Mapping

from driver import limits
from driver.objects.names import is_object_name
from driver.ports import WITH_CLASS, WITH_PODS, SecretObject
from driver.sync import key_sources
from driver.volume.payload import first_names
from runtime.errors import PreconditionFailed

# Secrets of these types give power over the cluster or over a release: the author of a class must not forge them.
REFUSED_TYPES = {
    "kubernetes.io/service-account-token": "is a credential of the cluster itself",
    "bootstrap.kubernetes.io/token": "is a credential of the cluster itself",
    "helm.sh/release.v1": "holds the state of a Helm release, which is installed again from it",
}
_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")


def check(item: SecretObject, names: Collection[str] | None = None) -> None:
    """Raises PreconditionFailed for an entry that can be no Secret, without looking at any content. ``names``: of the
    volume's files, if they are known."""
    check_fields(item)
    files = {name.strip() for name, _ in item.data} if names is None else names
    data_of(item, dict.fromkeys(files, b""))
    for number, source in enumerate(item.data_from):
        try:
            key_sources.check(source, names)
        except PreconditionFailed as failure:
            raise PreconditionFailed(f"dataFrom[{number}]: {failure}") from None


def check_fields(item: SecretObject) -> None:
    """Raises PreconditionFailed for an entry whose fields are wrong, each by itself."""
    name, kind = item.secret_name.strip(), item.type.strip()
    _require(name, "secret name is empty: set secretName in spec.secretObjects")
    _require(is_object_name(name), "secretName must be a DNS name: lower case letters, digits, '-' and '.'")
    _require(item.type, "secret type is empty: set type in spec.secretObjects, for example Opaque")
    _require(kind not in REFUSED_TYPES, f"type {kind} is refused: such a Secret {REFUSED_TYPES.get(kind)}")
    _require(
        item.deletion_policy.strip() in ("", WITH_PODS, WITH_CLASS),
        "deletionPolicy must be WithPods (the default: the Secret is deleted with the last pod that uses the class) "
        "or WithClass (it stays as long as the class)",
    )
    _require(
        item.data or item.data_from,
        "data is empty: list objectName and key in spec.secretObjects[].data, or whole objects in dataFrom",
    )
    _check_keys([key for _, key in item.data])


def data_of(item: SecretObject, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The data by key. The value of a key that is listed twice is the last one, as with the Go driver. Raises
    PreconditionFailed."""
    data: dict[str, bytes] = {}
    for object_name, key in ((name.strip(), key.strip()) for name, key in item.data):
        _require(object_name, "an objectName is empty: name a file of the volume")
        _require(key, f"the key of objectName {object_name} is empty")
        _require(_KEY.fullmatch(key), f"key {key} must be 1 to 253 letters, digits, '-', '_' or '.'")
        _require(
            object_name in files,
            f"file matching objectName {object_name} not found in the pod's volume, which has: "
            f"{first_names(files) or 'no files'}",
        )
        data[key] = files[object_name]
    check_size(data)
    return data


def check_size(data: Mapping[str, bytes]) -> None:
    """Raises PreconditionFailed for more than a Secret can hold."""
    _check_keys(data.keys())
    size = sum(len(value) for value in data.values())
    most = limits.MAX_SECRET_BYTES
    _require(size <= most, f"its data are {size} bytes, and a Secret holds at most {most}")


def _check_keys(keys: Collection[str]) -> None:
    size = sum(len(key.encode()) for key in keys)
    _require(
        len(keys) <= limits.MAX_SECRET_KEYS and size <= limits.MAX_SECRET_KEYS_BYTES,
        f"data has {len(keys)} keys of {size} bytes in all; at most {limits.MAX_SECRET_KEYS} keys of "
        f"{limits.MAX_SECRET_KEYS_BYTES} bytes are possible: divide them among several Secrets",
    )


def _require(condition: object, sentence: str) -> None:
    if not condition:
        raise PreconditionFailed(sentence)
