"""A server that answers each HTTP/2 connection with a GOAWAY frame whose text is an attack."""

import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path

CANARY = "canary-1234-s3cr3t"
TEXT = (
    b"evil\nE0101 00:00:00.000000 1 mounts.py:1] \"forged\"\n\x1b[31mtoken=" + CANARY.encode() +
    b"\n{\"level\": \"error\", \"process\": \"supervisor\", \"message\": \"password=" + CANARY.encode() +
    b"\"}\n-----BEGIN RSA PRIVATE KEY-----\n" + CANARY.replace("-", "+").encode() +
    b"\n-----END RSA PRIVATE KEY-----\n\xff\xfe\xc2\x9b31m \xe2\x80\xaereversed end"
)  # fmt: skip  # one line for each part of the attack

_SETTINGS, _GOAWAY = 4, 7  # https://www.rfc-editor.org/rfc/rfc9113#name-frame-definitions
_ENHANCE_YOUR_CALM = 11


def serve_goaway(path: Path) -> None:
    """Serve until the process ends, in a thread."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    threading.Thread(target=_answer_all, args=(listener,), daemon=True).start()


def _answer_all(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        with connection, suppress(OSError):  # somebody who only looked whether the socket is served
            connection.sendall(_frame(_SETTINGS, 0, b""))
            connection.recv(65536)
            goaway = struct.pack(">II", 0, _ENHANCE_YOUR_CALM) + TEXT
            connection.sendall(_frame(_SETTINGS, 1, b"") + _frame(_GOAWAY, 0, goaway))
            # Closing before the client has read the frame could reset the connection, and the client would lose it.
            connection.settimeout(5.0)
            while connection.recv(65536):
                pass


def _frame(kind: int, flags: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", 0) + payload
