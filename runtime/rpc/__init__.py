"""gRPC at the process boundary: serve on a Unix socket or TCP, dial a socket, and map failures to status codes."""

from runtime.rpc.client import DEADLINE_DETAILS, MAX_UNANSWERED, UNREADABLE, Connection, SocketChannel, dial
from runtime.rpc.codes import NON_FINAL_CODES, STATUS_CODES, RemoteFailure, as_failure, code_of, go_name
from runtime.rpc.server import REQUEST_VERBOSITY, Register, serve

__all__ = [
    "DEADLINE_DETAILS",
    "MAX_UNANSWERED",
    "NON_FINAL_CODES",
    "REQUEST_VERBOSITY",
    "STATUS_CODES",
    "UNREADABLE",
    "Connection",
    "Register",
    "RemoteFailure",
    "SocketChannel",
    "as_failure",
    "code_of",
    "dial",
    "go_name",
    "serve",
]
