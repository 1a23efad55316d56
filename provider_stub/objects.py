"""The ``objects`` parameter: which secrets a class wants."""

from dataclasses import dataclass
from typing import Literal

from provider_kit.fields import Fields
from provider_kit.objects import Encoding, decode, entries, refuse_overlap

Generate = Literal["", "password", "certificate"]
Scope = Literal["class", "pod"]
DEFAULT_LENGTH, LEAST_LENGTH, MOST_LENGTH = 32, 8, 256
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
        return decode(self.name, contents, self.encoding)


def parse(text: str, rotation_period: float = 0.0) -> list[SecretObject]:
    """All entries. ``rotation_period``, in seconds, applies to entries that do not set their own."""
    objects = [_entry(name, fields, rotation_period) for name, fields in entries(text, _KNOWN, _IGNORED)]
    refuse_overlap([item.path for item in objects], "give one of them an objectAlias")
    return objects


def _entry(name: str, fields: Fields, rotation_period: float) -> SecretObject:
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
