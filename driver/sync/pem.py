"""PEM files (https://www.rfc-editor.org/rfc/rfc7468) as people store them: with text around the blocks, with line
breaks turned into spaces or written as ``\\n``, with Windows line ends."""

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from runtime.errors import PreconditionFailed

_LINE = 64
_MARK = re.compile(rb"-----(BEGIN|END) ([A-Z0-9 ]+)-----")
# Header lines, as in ``Proc-Type: 4,ENCRYPTED`` (https://www.rfc-editor.org/rfc/rfc1421#section-4.6).
_HEADER = re.compile(rb"[A-Za-z0-9-]+:")
_FOLDED_HEADERS = re.compile(rb"\s*((?:Proc-Type: \S+|DEK-Info: \S+|[A-Za-z0-9-]+: ?\S+)\s+)+")


@dataclass(frozen=True)
class Block:
    """One block: its label, header lines and DER."""

    label: str
    headers: tuple[bytes, ...]
    der: bytes

    @property
    def is_encrypted(self) -> bool:
        """Whether it is a private key with a passphrase."""
        encrypted = any(header.startswith(b"Proc-Type:") and b"ENCRYPTED" in header for header in self.headers)
        return encrypted or self.label == "ENCRYPTED PRIVATE KEY"

    def encoded(self) -> bytes:
        """The block as PEM, with its headers."""
        text = b64encode(self.der)
        lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
        headers = [*self.headers, b""] if self.headers else []
        name = self.label.encode()
        return b"\n".join([b"-----BEGIN " + name + b"-----", *headers, *lines, b"-----END " + name + b"-----", b""])


def labels(content: bytes) -> list[str]:
    """The labels of all blocks of a file."""
    return [label for label, _ in _texts(content)]


def blocks(content: bytes, wanted: Callable[[str], bool] = lambda label: bool(label)) -> Iterator[Block]:
    """The blocks with a wanted label; others may be damaged. Raises PreconditionFailed for a wanted block that is."""
    for label, text in _texts(content):
        if wanted(label):
            yield _block(label, text)


def hint(content: bytes) -> str:
    """What the file seems to be instead, as the end of a sentence; empty if nobody knows."""
    text = content.strip()
    if text[:1] in (b"{", b"["):
        return "; it is JSON: let the provider extract the field that holds the PEM"
    try:
        decoded = b64decode(b"".join(text.split()), validate=True)
    except binascii.Error:
        return ""
    if _MARK.search(decoded) or decoded[:1] == b"\x30":
        return "; it is base64 of such a file: let the provider decode it"
    return ""


def _texts(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Label and text of each block. A BEGIN counts only if the next mark is its END, so one pass is enough for any
    input."""
    begun = None
    for mark in _MARK.finditer(content):
        if begun is not None and mark[1] == b"END" and mark[2] == begun[2]:
            yield mark[2].decode(), content[begun.end() : mark.start()]
        begun = mark if mark[1] == b"BEGIN" else None


def _block(label: str, text: bytes) -> Block:
    text = text.replace(b"\\r", b"").replace(b"\\n", b"\n").strip()
    if b"\n" in text:
        lines = [line.strip() for line in text.splitlines()]
        count = next((number for number, line in enumerate(lines) if not _HEADER.match(line)), len(lines))
        headers, body = tuple(lines[:count]), b"".join(b"".join(lines[count:]).split())
    else:
        folded = _FOLDED_HEADERS.match(text)
        headers = (folded[0].strip(),) if folded else ()
        body = b"".join(text[folded.end() if folded else 0 :].split())
    try:
        return Block(label, headers, b64decode(body, validate=True))
    except binascii.Error:
        raise PreconditionFailed(f"its PEM block {label} is damaged") from None
