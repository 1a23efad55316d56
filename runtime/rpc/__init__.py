"""gRPC at the process boundary: serve on a Unix socket or TCP, call a socket, and map failures to status codes."""

from runtime.rpc.calls import Call
from runtime.rpc.channel import MAX_UNANSWERED, UNREADABLE, SocketChannel, Unreadable, call_once
from runtime.rpc.failures import CallFailed
from runtime.rpc.server import Register, serve
from runtime.rpc.services import Services
from runtime.rpc.wire import DEADLINE_DETAILS
from runtime.status_codes import NON_FINAL_CODES, STATUS_CODES, RemoteFailure, StatusCode, as_failure, code_of, go_name

__all__ = [
    "DEADLINE_DETAILS",
    "MAX_UNANSWERED",
    "NON_FINAL_CODES",
    "STATUS_CODES",
    "UNREADABLE",
    "Call",
    "CallFailed",
    "Register",
    "RemoteFailure",
    "Services",
    "SocketChannel",
    "StatusCode",
    "Unreadable",
    "as_failure",
    "call_once",
    "code_of",
    "go_name",
    "serve",
]
