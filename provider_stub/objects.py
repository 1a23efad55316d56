"""The ``objects`` parameter: which secrets a class wants, in the forms that well-known providers accept.

Either a list of objects (as for Vault, AWS, GCP), or an object whose key ``array`` holds a list of strings that are
YAML themselves (as for Azure). A failure names the entry and says what to write instead, and never shows a value that
might be secret.
"""

import base64
import binascii
import posixpath
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from provider_kit import InvalidRequest
from provider_stub.fields import Fields

Encoding = Literal["utf-8", "base64", "hex"]
Generate = Literal["", "password", "certificate"]
Scope = Literal["class", "pod"]
DEFAULT_LENGTH, LEAST_LENGTH, MOST_LENGTH = 32, 8, 256
# Ten times as fast, where PyYAML was built with libyaml.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Accepted, without effect, for classes that were written for other providers.
_IGNORED = frozenset({"objectType", "objectFormat"})
_KNOWN = frozenset(
    {
        "objectName",
        "objectAlias",
        "objectVersion",
        "filePermission",
        "encoding",
        "objectEncoding",
        "secretPath",
        "secretKey",
        "generate",
        "scope",
        "length",
        "rotationPeriod",
        "dnsNames",
    }
)


@dataclass(frozen=True)
class SecretObject:
    """One secret that a class wants.

    ``name`` is its id in the reply, ``source`` its path in the store, ``path`` its file in the volume, ``mode`` the
    file's permission bits (None: what the driver requests), ``length`` the characters of a generated password, and
    ``rotation_period`` the seconds until a generated secret changes (0: never).
    """

    name: str
    source: str
    path: str
    version: str
    mode: int | None
    encoding: Encoding
    generate: Generate
    scope: Scope
    length: int
    rotation_period: float
    dns_names: tuple[str, ...]

    def decode(self, contents: bytes) -> bytes:
        """The file's content, from what the store holds."""
        try:
            if self.encoding == "base64":
                return base64.b64decode(b"".join(contents.split()), validate=True)
            if self.encoding == "hex":
                return bytes.fromhex(contents.decode("ascii"))
        except (binascii.Error, ValueError):
            raise InvalidRequest(
                f"the content of {self.name!r} is not valid {self.encoding}: correct it in the store or remove encoding"
            ) from None
        return contents


def parse(text: str, rotation_period: float = 0.0) -> list[SecretObject]:
    """All entries. ``rotation_period``, in seconds, applies to entries that do not set their own."""
    entries = _load(text, "objects")
    if isinstance(entries, dict):
        if set(entries) != {"array"}:
            raise InvalidRequest("objects must be a YAML list, or an object whose only key is array")
        entries = entries["array"]
    if not isinstance(entries, list) or not entries:
        raise InvalidRequest("objects must be a YAML list with at least one entry, or such a list under the key array")
    objects = [_entry(number, item, rotation_period) for number, item in enumerate(entries)]
    _refuse_overlap([item.path for item in objects])
    return objects


def _load(text: str, what: str) -> Any:
    try:
        return yaml.load(text, _LOADER)
    # PyYAML raises many kinds of errors for a value like the date 2001-02-30.
    except (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f" (line {mark.line + 1})" if mark is not None else ""
        raise InvalidRequest(f"{what} is not valid YAML{place}") from None


def _entry(number: int, item: Any, rotation_period: float) -> SecretObject:
    what = f"objects entry {number}"
    if isinstance(item, str):
        item = _load(item, what)
    if not isinstance(item, dict):
        raise InvalidRequest(f"{what} must be an object with at least objectName")
    fields = Fields(what, item)
    name = fields.text("objectName")
    if not name:
        raise InvalidRequest(f"{what} has no objectName")
    fields.what = f"{what} ({name!r})"
    unknown = sorted(str(key) for key in set(item) - _KNOWN - _IGNORED)
    if unknown:
        raise InvalidRequest(
            f"{fields.what} has the unknown field {unknown[0]}: the known fields are {', '.join(sorted(_KNOWN))}"
        )
    source = "/".join(part for part in (fields.text("secretPath").strip("/"), fields.text("secretKey")) if part) or name
    return SecretObject(
        name=name,
        source=fields.path("objectName" if source == name else "secretPath with secretKey", source),
        path=fields.path("objectAlias", fields.text("objectAlias") or name),
        version="" if fields.text("objectVersion") == "latest" else fields.text("objectVersion"),
        mode=fields.mode("filePermission"),
        encoding=fields.choice("encoding", Encoding, fields.text("objectEncoding") or "utf-8"),
        generate=fields.choice("generate", Generate, ""),
        scope=fields.choice("scope", Scope, "class"),
        length=fields.number("length", DEFAULT_LENGTH, LEAST_LENGTH, MOST_LENGTH),
        rotation_period=fields.seconds("rotationPeriod", rotation_period),
        dns_names=tuple(part.strip() for part in fields.text("dnsNames").split(",") if part.strip()) or ("localhost",),
    )


def _refuse_overlap(paths: list[str]) -> None:
    seen: set[str] = set()
    for path in paths:
        if path in seen:
            raise InvalidRequest(f"two objects entries write the file {path!r}: give one of them an objectAlias")
        seen.add(path)
    for path in paths:
        parent = posixpath.dirname(path)
        while parent:
            if parent in seen:
                raise InvalidRequest(
                    f"the objects entries {parent!r} and {path!r} conflict: one is a file, the other needs a directory"
                )
            parent = posixpath.dirname(parent)
