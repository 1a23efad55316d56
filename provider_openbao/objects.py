"""The parameter ``objects``: what a class wants to read, and into which files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from provider_kit import InvalidRequest
from provider_kit.fields import Fields
from provider_kit.objects import Encoding, entries, refuse_overlap
from provider_openbao import texts

Method = Literal["GET", "PUT", "POST"]
_KNOWN = ("objectName", "secretPath", "secretKey", "method", "secretArgs", "encoding", "filePermission")


@dataclass(frozen=True)
class Call:
    """One call of the API. ``path`` is below ``/v1/`` and quoted, ``query`` as the class has it, ``body`` the JSON of
    ``secretArgs``. Objects with the same call share its response."""

    method: Method
    path: str
    query: str
    body: str


@dataclass(frozen=True)
class WantedObject:
    """One entry: its ``name`` is the file's path, ``key`` what to take from the response (empty: all of it), and
    ``place`` what failures call it."""

    name: str
    place: str
    call: Call
    key: str
    encoding: Encoding
    mode: int | None


def parse(text: str) -> list[WantedObject]:
    """All entries."""
    objects = [_entry(name, fields) for name, fields in entries(text, _KNOWN)]
    refuse_overlap([item.name for item in objects], "give each its own objectName")
    return objects


def _entry(name: str, fields: Fields) -> WantedObject:
    method = fields.choice("method", Method, "GET")
    arguments = fields.mapping("secretArgs")
    if arguments and method == "GET":
        raise InvalidRequest(
            f"{fields.what}: secretArgs need method: PUT; arguments of a GET are in secretPath, as in ?version=1"
        )
    path, _, query = fields.text("secretPath").partition("?")
    where = f"{fields.what}: secretPath"
    return WantedObject(
        name=fields.path("objectName", name),
        place=fields.what,
        call=Call(method, _path(fields.what, path), texts.query(where, query), _body(fields.what, arguments)),
        key=fields.text("secretKey"),
        encoding=fields.choice("encoding", Encoding, "utf-8"),
        mode=fields.mode("filePermission"),
    )


def _path(what: str, path: str) -> str:
    path = path.strip().strip("/").removeprefix("v1/")
    if not path:
        raise InvalidRequest(f"{what} has no secretPath: write a path of the API, such as secret/data/app")
    return texts.path(f"{what}: secretPath", path, "secret/data/app")


def _body(what: str, arguments: Mapping[str, Any]) -> str:
    try:
        return json.dumps(arguments, sort_keys=True, allow_nan=False) if arguments else ""
    except (TypeError, ValueError):
        raise InvalidRequest(f"{what}: secretArgs must be strings, numbers, booleans, lists and objects") from None
