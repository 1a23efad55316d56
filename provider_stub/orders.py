"""Error orders: errors that a class requests from the stub, to test how a driver and its operators react.

They need ``--allow-error-orders``, because those who write classes are not those who run the provider.

    stubError: UNAVAILABLE      fail with this gRPC code
    stubErrorCode: Forbidden    reply with this error.code
    stubDelay: 3s               wait before anything else
    stubFailures: "2"           fail the first 2 calls for a volume (with stubError, by default UNAVAILABLE)
    stubReply: dot-dot          send a malformed reply; MALFORMED lists the kinds
    stubCrash: "true"           exit in the middle of the call
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import grpc

from protos import provider_pb2
from provider_kit import InvalidRequest, PermissionDenied, RemoteFailure
from provider_kit.fields import seconds

_ORDER = re.compile("stub[A-Z]")
OVERSIZED_BYTES = 5 * 1024 * 1024
_KNOWN = ("stubError", "stubErrorCode", "stubDelay", "stubFailures", "stubReply", "stubCrash")


def _reply(*paths: str, versions: bool = True, contents: bytes = b"ordered") -> provider_pb2.MountResponse:
    files = [provider_pb2.File(path=path, mode=0o644, contents=contents) for path in paths]
    objects = [provider_pb2.ObjectVersion(id="ordered", version="1")] if versions else []
    return provider_pb2.MountResponse(object_version=objects, files=files)


MALFORMED: Mapping[str, Callable[[], provider_pb2.MountResponse]] = {
    "empty": provider_pb2.MountResponse,
    "no-versions": lambda: _reply("ordered", versions=False),
    "no-files": _reply,
    "absolute": lambda: _reply("/etc/ordered"),
    "dot-dot": lambda: _reply("../ordered"),
    "inner-dot-dot": lambda: _reply("a/../../ordered"),
    "reserved": lambda: _reply("..data"),
    "dot": lambda: _reply("."),
    "empty-path": lambda: _reply(""),
    "unclean": lambda: _reply("a//ordered"),
    "duplicate": lambda: provider_pb2.MountResponse(
        object_version=_reply().object_version,
        files=[*_reply("ordered", contents=b"first").files, *_reply("ordered", contents=b"last").files],
    ),
    "conflict": lambda: _reply("q", "q/r"),
    "long-name": lambda: _reply("n" * 256),
    "long-path": lambda: _reply("d/" * 2050 + "f"),
    "oversized": lambda: _reply("ordered", contents=b"x" * OVERSIZED_BYTES),
}


@dataclass(frozen=True)
class Orders:
    """The validated orders of one class."""

    error: grpc.StatusCode | None = None
    error_code: str = ""
    delay: float = 0.0
    failures: int | None = None
    reply: str = ""
    crash: bool = False

    def error_for(self, call: int) -> RemoteFailure | None:
        """The failure of a volume's ``call``-th call, counted from 1; None if it is to succeed."""
        code = self.error
        if self.failures is not None:
            code = (code or grpc.StatusCode.UNAVAILABLE) if call <= self.failures else None
        if code is None:
            return None
        return RemoteFailure(code, f"the class requests {code.name} (call {call} for this volume)")


def parse(attributes: Mapping[str, str], allowed: bool) -> Orders:
    """The orders among the attributes. An order is PermissionDenied unless orders are ``allowed``, and InvalidRequest
    if it is unknown or invalid.
    """
    given = {key: value for key, value in attributes.items() if _ORDER.match(key)}
    for key in sorted(given):
        if key not in _KNOWN:
            raise InvalidRequest(f"unknown parameter {key}: the error orders are {', '.join(_KNOWN)}")
        if not allowed:
            raise PermissionDenied(
                f"the class requests an error ({key}), which this provider does not allow: "
                "remove the parameter, or start the provider with --allow-error-orders"
            )
    return Orders(
        error=_code(given.get("stubError", "")),
        error_code=given.get("stubErrorCode", ""),
        delay=seconds("stubDelay", given["stubDelay"]) if "stubDelay" in given else 0.0,
        failures=_count(given["stubFailures"]) if "stubFailures" in given else None,
        reply=_choice("stubReply", given.get("stubReply", ""), ("", *MALFORMED)),
        crash=_choice("stubCrash", given.get("stubCrash", "false"), ("true", "false")) == "true",
    )


def _code(text: str) -> grpc.StatusCode | None:
    if not text:
        return None
    names = [code.name for code in grpc.StatusCode if code is not grpc.StatusCode.OK]
    return grpc.StatusCode[_choice("stubError", text, tuple(names))]


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise InvalidRequest("stubFailures must be a whole number, quoted in YAML")
    return int(text)


def _choice(key: str, text: str, choices: tuple[str, ...]) -> str:
    if text not in choices:
        raise InvalidRequest(f"{key} must be one of {', '.join(filter(None, choices))}")
    return text
