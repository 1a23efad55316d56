"""Redaction: the one place that decides what may be logged, shown or sent as an error.

Tokens, secrets and volume contexts never reach a log, an error text, an event or a status page. Requests are shown
field by field, with secret fields withheld. From texts of other programs (a provider's error, an API server's response)
everything that looks like a credential is removed, and their length is limited.
"""

import re
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

WITHHELD = "***stripped***"
MAX_TEXT_LENGTH = 1024
# Longer texts are cut before they are searched: some patterns take quadratic time.
_MAX_SEARCHED_LENGTH = 8 * MAX_TEXT_LENGTH
# The field option (extension 1059) that marks secret fields, defined by the CSI specification:
# https://github.com/container-storage-interface/spec/blob/master/csi.proto
_SECRET_OPTION = "csi_secret"
# Withheld too, although not marked: a user's parameters, tokens, and what a provider returns.
_WITHHELD_FIELDS = frozenset({"secrets", "volume_context", "publish_context", "attributes", "contents"})
_CREDENTIALS = (
    re.compile(r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?"),  # a JSON Web Token
    re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"(?i)(?<=bearer )[A-Za-z0-9._~+/=-]{8,}"),
    re.compile(r"""(?ix)(?:token|passw(?:or)?d|secret[_-]?(?:key|id)|api[_-]?key|client[_-]?secret)
                   ["']?\s*[:=]\s*["']?(?P<value>[^\s"',;}]{4,})"""),
    re.compile(r"\b(?:hvs|hvb|hvr)\.[A-Za-z0-9_-]{8,}"),  # Vault's tokens
)


def text(value: object) -> str:
    """``str(value)`` on one line, without anything that looks like a credential, cut to ``MAX_TEXT_LENGTH``
    characters."""
    result = " ".join(mask(str(value)[:_MAX_SEARCHED_LENGTH]).split())
    return result if len(result) <= MAX_TEXT_LENGTH else result[:MAX_TEXT_LENGTH] + "…"


def mask(text: str) -> str:
    """The text unchanged except for what looks like a credential."""
    for pattern in _CREDENTIALS:
        text = pattern.sub(_withhold, text)
    return text


def _withhold(match: re.Match[str]) -> str:
    if match.re.groups and match.group("value"):
        return match.group(0).replace(match.group("value"), WITHHELD)
    return WITHHELD


def message(value: Message) -> dict[str, Any]:
    """A protobuf message as a dictionary that may be logged: secret maps show only their keys, other secret fields and
    bytes show nothing."""
    return {field.name: _field(field, content) for field, content in value.ListFields()}


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
