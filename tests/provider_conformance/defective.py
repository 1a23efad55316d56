"""A provider without the kit that does everything right, except for one thing."""

import concurrent.futures
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message

from protos import provider_pb2

CONTENTS = {"user": b"alice-in-wonderland", "password": b"correct-horse-battery"}
THREADS = 40
LARGE = 200_000


class Refused(Exception):
    """A call that ends with a code and a sentence."""

    def __init__(self, code: grpc.StatusCode, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class DefectiveProvider:
    """Serves CONTENTS by the parameter ``names``; ``defect`` is one of those in ``test_defects.py``."""

    def __init__(self, defect: str = "") -> None:
        self.defect = defect
        self.calls = 0
        self.running = 0
        self.counting = threading.Lock()
        self.stopped = threading.Event()
        self.broken = False

    def version(self, data: bytes, context: Any) -> provider_pb2.VersionResponse:
        self._check_authority(context)
        reply = provider_pb2.VersionResponse(version="v1alpha1", runtime_name="lab", runtime_version="1")
        if self.defect == "other API version":
            reply.version = "v1"
        if self.defect == "no runtime version":
            reply.runtime_version = ""
        if self.defect == "no Version":
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "no such method")
        return reply

    def mount(self, data: bytes, context: Any) -> provider_pb2.MountResponse:
        with self.counting:
            self.calls += 1
            self.running += 1
        try:
            self._check_authority(context)
            return self._reply(data, context)
        except Refused as refused:
            context.abort(refused.code, str(refused))
            raise AssertionError from None
        finally:
            with self.counting:
                self.running -= 1

    def _check_authority(self, context: Any) -> None:
        authority = context._rpc_event.call_details.host.decode()
        if (authority == "localhost") == (self.defect == "refuses localhost"):
            if self.defect == "hangs on other authorities":
                self.stopped.wait()
            self.broken |= self.defect == "breaks on other authorities"
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "wrong authority")

    def _reply(self, data: bytes, context: Any) -> provider_pb2.MountResponse:
        if self.broken:
            raise Refused(grpc.StatusCode.UNAVAILABLE, "broken")
        request = provider_pb2.MountRequest.FromString(data)
        if self.defect == "one call at a time":
            self.stopped.wait(0.02)  # long enough for other calls to arrive
            if self.running > 1:
                raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy")
        if self.defect == "refuses large requests" and len(data) > 500_000:
            raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "too large")
        if self.defect == "refuses unknown fields" and b"later" in data[-5:]:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "unknown field")
        if self.defect == "refuses requests without secrets" and request.secrets == "null":
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "no secrets")
        return self._deliver(request, self._attributes(request), context)

    def _attributes(self, request: provider_pb2.MountRequest) -> dict[str, Any]:
        try:
            if self.defect == "breaks on bad secrets" and request.secrets != "null":
                try:
                    json.loads(request.secrets)
                except ValueError:
                    self.broken = True
            attributes = json.loads(request.attributes)
            if not isinstance(attributes, dict) or not all(isinstance(value, str) for value in attributes.values()):
                raise ValueError("not an object of strings")
        except ValueError:
            if self.defect == "accepts any attributes":
                return {"names": "user"}
            if self.defect == "says nothing":
                raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "") from None
            echo = request.attributes if self.defect == "echoes attributes" else ""
            self.broken |= self.defect == "breaks on bad attributes"
            unknown = self.defect == "unknown errors"
            code = grpc.StatusCode.UNKNOWN if unknown else grpc.StatusCode.INVALID_ARGUMENT
            raise Refused(code, f"attributes are malformed {echo}") from None
        if self.defect == "refuses unknown attributes" and any("later" in key for key in attributes):
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "unknown attribute")
        return attributes

    def _deliver(
        self, request: provider_pb2.MountRequest, attributes: dict[str, Any], context: Any
    ) -> provider_pb2.MountResponse:
        reply = provider_pb2.MountResponse()
        names = [name for name in attributes.get("names", "").split(",") if name]
        if attributes.get("slow"):
            abandoned = threading.Event()
            # A defect of many: the work goes on although nobody waits.
            if self.defect != "works on for nobody" and not context.add_callback(abandoned.set):
                abandoned.set()  # the call is over already
            while not abandoned.wait(0.05) and not self.stopped.is_set():
                pass
        self.broken |= self.defect == "breaks on bad parameters" and any("[" in name for name in names)
        for name in names:
            contents = CONTENTS.get(name)
            if contents is None:
                self._missing(name, request)
                continue
            permission = int(request.permission) if request.permission.isdecimal() else 0o644
            mode = 0o400 if name == "password" else permission
            reply.files.add(path=name, mode=mode, contents=contents)
            reply.object_version.add(id=name, version=hashlib.sha256(b"key" + contents).hexdigest())
        if not names:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "names is missing")
        if spoil := SPOILED.get(self.defect):
            spoil(self, request, reply)
        return reply

    def _missing(self, name: str, request: provider_pb2.MountRequest) -> None:
        if self.defect == "leaves out what is missing":
            return
        if self.defect == "echoes secrets":
            raise Refused(grpc.StatusCode.NOT_FOUND, f"no {name!r} with {request.secrets}")
        retried = self.defect == "missing is unavailable"
        raise Refused(grpc.StatusCode.UNAVAILABLE if retried else grpc.StatusCode.NOT_FOUND, f"no {name[:80]!r}")


Spoil = Callable[[DefectiveProvider, provider_pb2.MountRequest, provider_pb2.MountResponse], object]


def _first(**values: Any) -> Spoil:
    """Sets fields of the first file."""

    def spoil(_: DefectiveProvider, __: provider_pb2.MountRequest, reply: provider_pb2.MountResponse) -> None:
        for name, value in values.items():
            setattr(reply.files[0], name, value)

    return spoil


def _version(text: Callable[[DefectiveProvider], str]) -> Spoil:
    """Sets the version of the first object."""

    def spoil(provider: DefectiveProvider, _: object, reply: provider_pb2.MountResponse) -> None:
        reply.object_version[0].version = text(provider)

    return spoil


def _gone(_: object, request: provider_pb2.MountRequest, reply: provider_pb2.MountResponse) -> None:
    for item in request.current_object_version:
        if item.id not in CONTENTS:
            reply.object_version.add(id=item.id, version=item.version)


SPOILED: dict[str, Spoil] = {
    "absolute path": _first(path="/etc/user"),
    "path with two dots": _first(path="../user"),
    "path of the driver": _first(path="..data"),
    "unclean path": _first(path="a//user"),
    "long name": _first(path="n" * 256),
    "same path twice": lambda _, __, reply: reply.files.add().CopyFrom(reply.files[0]),
    "file as directory": _first(path="password/user"),
    "mode 0": _first(mode=0),
    "setuid": _first(mode=0o4755),
    "other mode": lambda _, __, reply: setattr(reply.files[1], "mode", 0o600),
    "own idea of the permission": lambda _, request, reply: setattr(
        reply.files[0], "mode", 0o644 if request.permission == "420" else 0o604
    ),
    "no versions": lambda _, __, reply: reply.ClearField("object_version"),
    "empty version": _version(lambda _: ""),
    "two versions": lambda _, __, reply: reply.object_version.add(id="user", version="2"),
    "long version": _version(lambda _: "v" * 5000),
    "version of the call": _version(lambda provider: str(provider.calls)),
    "content as version": _version(lambda _: CONTENTS["user"].decode()),
    "digest as version": _version(lambda _: hashlib.sha256(CONTENTS["user"]).hexdigest()[:16]),
    "large reply": _first(contents=b"x" * LARGE),
    "names what is gone": _gone,
    "no files": lambda _, __, reply: reply.ClearField("files"),
    "error code": lambda _, __, reply: setattr(reply.error, "code", "Forbidden"),
}


def _encode(reply: Message, malformed: bool) -> bytes:
    return b"\xff\xff" if malformed else reply.SerializeToString()


@contextmanager
def serving(socket: Path, defect: str = "") -> Iterator[DefectiveProvider]:
    """Serve inside the context."""
    provider = DefectiveProvider(defect)
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(THREADS))
    handlers: dict[str, Any] = {
        "Version": grpc.unary_unary_rpc_method_handler(
            provider.version, response_serializer=lambda reply: _encode(reply, defect == "malformed Version")
        ),
        "Mount": grpc.unary_unary_rpc_method_handler(
            provider.mount, response_serializer=lambda reply: _encode(reply, defect == "malformed reply")
        ),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("v1alpha1.CSIDriverProvider", handlers),))
    before = os.umask(0 if defect == "open to all" else 0o077)
    try:
        server.add_insecure_port(f"unix:{socket}")
    finally:
        os.umask(before)
    server.start()
    try:
        yield provider
    finally:
        provider.stopped.set()
        server.stop(None).wait()
