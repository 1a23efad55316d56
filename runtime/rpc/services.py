"""The methods that a server has: from a service's descriptor and an object that implements it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

Handler = Callable[[Any, Any], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Method:
    """One unary method. ``handle`` takes a request and the call (``runtime.rpc.calls.Call``); None: it is not
    implemented."""

    path: str
    parse: Callable[[bytes], Any]
    handle: Handler | None


class Services:
    """The methods of all services by path; ``register`` functions (``rpc.Register``) fill it."""

    def __init__(self) -> None:
        self.methods: dict[bytes, Method] = {}

    def add(self, descriptor: ServiceDescriptor, implementation: object) -> None:
        """Add a service. A method that ``implementation`` does not have is answered with UNIMPLEMENTED."""
        for method in descriptor.methods:
            request: type[Message] = GetMessageClass(method.input_type)
            path = f"/{descriptor.full_name}/{method.name}"
            handler = getattr(implementation, method.name, None)
            self.methods[path.encode()] = Method(path, request.FromString, handler)

    # What generated ``add_…Servicer_to_server`` functions call, which tests and other programs use.

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Add a service by grpc's table of handlers."""
        for name, handler in handlers.items():
            path = f"/{service}/{name}"
            self.methods[path.encode()] = Method(path, handler.request_deserializer, handler.unary_unary)

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Nothing: they are the same ones."""
