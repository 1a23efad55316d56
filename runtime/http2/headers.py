"""Header blocks (https://www.rfc-editor.org/rfc/rfc7541): decoded by the library hpack, and encoded as literals."""

import logging
from collections.abc import Iterable, Mapping

import hpack

from runtime.http2.frames import ConnectionFault, ErrorCode

# It would log each header at -v=10, and what a peer sends is not ours to log.
logging.getLogger("hpack").setLevel(logging.ERROR)

Headers = Mapping[bytes, bytes]


class HeaderDecoder:
    """Decodes the header blocks of one connection, whose table they share. ``most_bytes`` is the size of one list of
    headers as HTTP/2 counts it."""

    def __init__(self, most_bytes: int) -> None:
        self._decoder = hpack.Decoder(most_bytes)

    def decode(self, block: bytes) -> dict[bytes, bytes]:
        """The headers; of several with one name the last. Raises ConnectionFault."""
        try:
            return {bytes(name): bytes(value) for name, value in self._decoder.decode(block, raw=True)}
        except hpack.OversizedHeaderListError:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "received metadata size exceeds the limit") from None
        except hpack.HPACKError:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, "a header block that cannot be decoded") from None


def encode(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A block of literals that are not indexed, so that it is the same on each connection and needs no state."""
    return b"".join(b"\x00" + _string(name) + _string(value) for name, value in headers)


def _string(text: bytes) -> bytes:
    """A string literal without Huffman coding; its length has a prefix of 7 bits (RFC 7541, section 5.1)."""
    rest = len(text) - 127
    if rest < 0:
        return bytes((len(text),)) + text
    length = bytearray(b"\x7f")
    while rest >= 128:
        length.append(rest % 128 | 128)
        rest //= 128
    length.append(rest)
    return bytes(length) + text
