"""A small HTTP/1.1 server for health endpoints: a few fixed paths, any method, 404 elsewhere.

aiohttp's server rejects methods that Go's accepts, limits neither the time for a request head nor the number of
connections, and costs each process the memory of its import. A health endpoint needs little of HTTP: a request head, no
body (a request with one is answered and its connection closed), one response of known length. Whatever a client can
take from us is bounded: see ``connection``.
"""

from runtime.http.local_only import is_loopback, local_only
from runtime.http.messages import TEXT_PLAIN, Handler, Request, Response, text_response
from runtime.http.server import serve
from runtime.http.shared import SharedPage

__all__ = [
    "TEXT_PLAIN", "Handler", "Request", "Response", "SharedPage", "is_loopback", "local_only", "serve", "text_response",
]  # fmt: skip  # one line for each would hide the list
