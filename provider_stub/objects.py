"""The ``objects`` parameter: which secrets a class wants, as the field's providers take it.

Either an object with ``array:``, a list of strings that are YAML themselves (Azure, the e2e provider), or a plain
list of objects (Vault, AWS, GCP). Each failure names the entry and what to write in its place, never a value that
could be a secret.
"""

import base64
import binascii
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import yaml

from provider_kit import InvalidRequest, parse_duration

Encoding = Literal["utf-8", "base64", "hex"]
Generate = Literal["", "password", "certificate"]
Scope = Literal["class", "pod"]
DEFAULT_LENGTH, LONGEST_PASSWORD = 32, 256
# libyaml, where PyYAML has it, takes a tenth of the time.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Accepted from classes written for other providers, without effect here.
_WITHOUT_MEANING = frozenset({"objectType", "objectFormat"})
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
    """One wanted secret: ``source`` is its path in the store, ``path`` its file in the volume; ``mode`` None is
    the driver's.
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
        """What goes into the file, from what the store holds."""
        try:
            if self.encoding == "base64":
                return base64.b64decode(b"".join(contents.split()), validate=True)
            if self.encoding == "hex":
                return bytes.fromhex(contents.decode("ascii"))
        except (binascii.Error, ValueError):
            raise InvalidRequest(
                f"the content of {self.name!r} is no {self.encoding}: correct it in the store or leave encoding out"
            ) from None
        return contents


def parse(text: str, rotation_period: float = 0.0) -> list[SecretObject]:
    """All entries; ``rotation_period`` (seconds) is the class's, for generated entries without one of their own."""
    found = _load(text, "objects")
    if isinstance(found, dict):
        if set(found) != {"array"}:
            raise InvalidRequest("objects must be a YAML list, or an object whose only key is array")
        found = found["array"]
    if not isinstance(found, list) or not found:
        raise InvalidRequest("objects must be a YAML list with at least one entry, or such a list under the key array")
    objects = [_entry(number, item, rotation_period) for number, item in enumerate(found)]
    _refuse_overlap([item.path for item in objects])
    return objects


def _load(text: str, what: str) -> Any:
    try:
        return yaml.load(text, _LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" (line {mark.line + 1})" if mark is not None else ""
        raise InvalidRequest(f"{what} is no valid YAML{place}") from None


def _entry(number: int, item: Any, rotation_period: float) -> SecretObject:
    what = f"objects entry {number}"
    if isinstance(item, str):
        item = _load(item, what)
    if not isinstance(item, dict):
        raise InvalidRequest(f"{what} must be an object with at least objectName")
    fields = _Fields(what, item)
    name = fields.text("objectName")
    if not name:
        raise InvalidRequest(f"{what} has no objectName")
    fields.what = what = f"{what} ({name!r})"
    unknown = sorted(str(key) for key in set(item) - _KNOWN - _WITHOUT_MEANING)
    if unknown:
        raise InvalidRequest(f"{what} has the unknown field {unknown[0]}: known are {', '.join(sorted(_KNOWN))}")
    source = "/".join(part for part in (fields.text("secretPath").strip("/"), fields.text("secretKey")) if part) or name
    return SecretObject(
        name=name,
        source=_clean(what, "objectName" if source == name else "secretPath with secretKey", source),
        path=_clean(what, "objectAlias", fields.text("objectAlias") or name),
        version="" if fields.text("objectVersion") == "latest" else fields.text("objectVersion"),
        mode=fields.mode("filePermission"),
        encoding=fields.choice("encoding", Encoding, fields.text("objectEncoding") or "utf-8"),
        generate=fields.choice("generate", Generate, ""),
        scope=fields.choice("scope", Scope, "class"),
        length=fields.number("length", DEFAULT_LENGTH, 8, LONGEST_PASSWORD),
        rotation_period=fields.seconds("rotationPeriod", rotation_period),
        dns_names=tuple(part.strip() for part in fields.text("dnsNames").split(",") if part.strip()) or ("localhost",),
    )


class _Fields:
    """Typed access to one entry; YAML turns unquoted numbers into ints, which names and versions may be."""

    def __init__(self, what: str, item: Mapping[str, Any]) -> None:
        self.what = what
        self._item = item

    def text(self, key: str) -> str:
        value = self._item.get(key)
        if value is None:
            return ""
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            return str(value)
        raise InvalidRequest(f"{self.what}: {key} must be a string")

    def choice(self, key: str, choices: Any, default: str) -> Any:
        value = self.text(key) or default
        allowed = get_args(choices)
        if value not in allowed:
            raise InvalidRequest(f"{self.what}: {key} must be one of {', '.join(filter(None, allowed))}")
        return value

    def number(self, key: str, default: int, least: int, most: int) -> int:
        value = self.text(key)
        if not value:
            return default
        if not value.isascii() or not value.isdecimal() or not least <= int(value) <= most:
            raise InvalidRequest(f"{self.what}: {key} must be a number from {least} to {most}")
        return int(value)

    def seconds(self, key: str, default: float) -> float:
        return seconds(f"{self.what}: {key}", self.text(key)) if self.text(key) else default

    def mode(self, key: str) -> int | None:
        """``0644`` is octal in YAML already; a string is read as octal; a decimal such as 644 is nobody's intention."""
        value = self._item.get(key)
        if value is None:
            return None
        try:
            found = int(value, 8) if isinstance(value, str) else value
        except ValueError:
            found = -1
        if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found <= 0o777:
            raise InvalidRequest(f"{self.what}: {key} must be octal permission bits, such as 0644")
        return found


def seconds(what: str, text: str) -> float:
    """A duration in Go's spelling, not negative."""
    try:
        found = parse_duration(text)
    except ValueError as error:
        raise InvalidRequest(f"{what}: {error}") from None
    if found < 0:
        raise InvalidRequest(f"{what} must not be negative")
    return found


def _clean(what: str, key: str, path: str) -> str:
    """A path as the driver will accept it (spec A.8): relative, in cleaned form, no ``..``."""
    parts = path.split("/")
    upward = parts[0].startswith("..") or ".." in parts
    if upward or path.startswith("/") or "\0" in path or path == "." or posixpath.normpath(path) != path:
        raise InvalidRequest(f"{what}: {key} must be a relative path without .. or empty parts, such as app/password")
    return path


def _refuse_overlap(paths: list[str]) -> None:
    seen: set[str] = set()
    for path in paths:
        if path in seen:
            raise InvalidRequest(f"two objects entries make the file {path!r}: give one of them an objectAlias")
        seen.add(path)
    for path in paths:
        parent = posixpath.dirname(path)
        while parent:
            if parent in seen:
                raise InvalidRequest(
                    f"the objects entries {parent!r} and {path!r} conflict: one is a file, the other needs a directory"
                )
            parent = posixpath.dirname(parent)
