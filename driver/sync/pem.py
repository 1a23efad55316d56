"""PEM files (https://www.rfc-editor.org/rfc/rfc7468) as people store them: with text around the blocks, with line
breaks turned into spaces, with Windows line ends, as a string of JSON (once or twice) with ``\\n`` and ``\\/``."""

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
# What JSON escapes in PEM; base64 itself has no backslash.
_ESCAPED_SPACE = re.compile(rb"\\+[rnt]")
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


def mentions(content: bytes, ending: str) -> bool:
    """Whether a file has the beginning or the end of a block whose label ends so; the block may be cut off."""
    return any(mark[2].decode().endswith(ending) for mark in _MARK.finditer(content))


def hint(content: bytes) -> str:
    """What the file seems to be instead, as the end of a sentence; empty if nobody knows."""
    text = content.strip()
    if text[:1] in (b"{", b"["):
        return "; it is JSON: let the provider extract the field that holds the PEM"
    if _MARK.search(without_zeros(content)):
        return "; it is text in UTF-16: store it as UTF-8"
    if _is_der(content):
        return "; it is DER, or a damaged file: store it as PEM"
    decoded = unwrapped(content)
    if _MARK.search(decoded) or decoded[:1] == b"\x30":
        return "; it is base64 of such a file: let the provider decode it"
    return ""


def unwrapped(content: bytes) -> bytes:
    """What the file is base64 of; empty if it is not base64."""
    try:
        return b64decode(b"".join(content.split()), validate=True)
    except binascii.Error:
        return b""


def without_zeros(content: bytes) -> bytes:
    """ASCII text in UTF-16, as ASCII; empty if there is nothing to leave out."""
    return content.replace(b"\0", b"") if b"\0" in content else b""


def _is_der(content: bytes) -> bool:
    """Whether a file begins as a DER structure of 256 bytes to 16 MiB does."""
    return content[:2] in (b"\x30\x82", b"\x30\x83")


def _texts(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Label and text of each block. A BEGIN counts only if the next mark is its END, so one pass is enough for any
    input."""
    begun = None
    for mark in _MARK.finditer(content):
        if begun is not None and mark[1] == b"END" and mark[2] == begun[2]:
            yield mark[2].decode(), content[begun.end() : mark.start()]
        begun = mark if mark[1] == b"BEGIN" else None


def _block(label: str, text: bytes) -> Block:
    text = _ESCAPED_SPACE.sub(b"\n", text).replace(b"\\", b"").strip()
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
