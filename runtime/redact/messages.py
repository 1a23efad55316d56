"""Protobuf messages as they may be logged, and the values in them that must not be shown."""

import json
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from runtime.redact.patterns import WITHHELD

# The field option (extension 1059) that marks secret fields, defined by the CSI specification:
# https://github.com/container-storage-interface/spec/blob/master/csi.proto
_SECRET_OPTION = "csi_secret"
# Withheld too, although not marked: a user's parameters, tokens, and what a provider returns.
_WITHHELD_FIELDS = frozenset({"secrets", "volume_context", "publish_context", "attributes", "contents"})
# Fields with settings, of which only those with such a name are secret: a text may have to name the others.
_SETTINGS = frozenset({"volume_context", "publish_context", "attributes"})
# Objects in objects in a value, the deepest of which are not looked at: a stack has an end.
_DEEPEST = 32
_SECRET_ENDINGS = (
    "token", "tokens", "password", "passwd", "passphrase", "secret", "secrets", "credential", "credentials",
    "secretkey", "apikey", "accesskey", "accountkey", "privatekey", "secretid", "connectionstring",
)  # fmt: skip  # one line for each would hide the list


def message(value: Message) -> dict[str, Any]:
    """A protobuf message as a dictionary that may be logged: secret maps show only their keys, other secret fields and
    bytes show nothing."""
    return {field.name: _field(field, content) for field, content in value.ListFields()}


def secrets_of(value: Message) -> Iterator[str | bytes]:
    """Each value in a request or reply that no text may repeat."""
    for field, content in value.ListFields():
        if field.name in _SETTINGS:
            yield from _secret_settings(content)
        elif field.type == FieldDescriptor.TYPE_MESSAGE and not hasattr(content, "keys"):
            for item in [content] if isinstance(content, Message) else content:
                yield from secrets_of(item)
        elif _is_secret(field):
            yield from leaves(dict(content) if hasattr(content, "keys") else content)


def is_secret_name(name: str) -> bool:
    """Whether a setting of this name is a secret: ``clientSecret`` is, ``secretPath`` and ``keyvaultName`` are not."""
    return name.lower().replace("_", "").replace("-", "").endswith(_SECRET_ENDINGS)


def _secret_settings(content: Any) -> Iterator[str | bytes]:
    settings = dict(content) if hasattr(content, "keys") else _parse(content)
    if isinstance(settings, dict):
        for name, value in settings.items():
            if is_secret_name(str(name)):
                yield from leaves(value)


def leaves(value: Any, depth: int = _DEEPEST) -> Iterator[str | bytes]:
    """A value, and the texts in it if it is JSON: a file of settings, or kubelet's object of tokens by audience."""
    if isinstance(value, (str, bytes)):
        yield value
        value = _parse(value)
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return
    if depth:
        for item in value:
            if isinstance(item, (str, bytes, dict, list)):
                yield from leaves(item, depth - 1)


def _parse(value: str | bytes) -> Any:
    if len(value) > 64 * 1024 or value[:1] not in ("{", "[", b"{", b"["):
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _field(field: FieldDescriptor, content: Any) -> Any:
    if _is_secret(field):
        return dict.fromkeys(content, WITHHELD) if hasattr(content, "keys") else WITHHELD
    if field.type == FieldDescriptor.TYPE_BYTES:
        return WITHHELD
    if hasattr(content, "keys"):
        return dict(content)
    if isinstance(content, Message):
        return message(content)
    if hasattr(content, "__iter__") and not isinstance(content, (str, bytes)):
        return [message(item) if isinstance(item, Message) else item for item in content]
    return content


def _is_secret(field: FieldDescriptor) -> bool:
    if field.name in _WITHHELD_FIELDS:
        return True
    return any(option.name == _SECRET_OPTION and value for option, value in field.GetOptions().ListFields())
