"""Messages to and from the parser's process: what is not one is BadFrame, whatever it is."""

import pytest

from driver.sync.parser import frames


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"sizes": 5}',
        b'{"sizes": {"a": "x"}}',
        b'{"sizes": {"a": -1}}',
        b'{"sizes": {"a": 1e999}}',
        b'{"sizes": {"a": NaN}}',
        b'{"sizes": {"a": ' + b"9" * 5000 + b"}}",
        b'{"sizes": {"a": 101}}',
        b"[" * 60_000,
        b'{"sizes":' * 6000,
    ],
)
def test_a_malformed_header(text: bytes) -> None:
    """The process has parsed foreign input: a header of any kind is one, or BadFrame."""
    with pytest.raises(frames.BadFrame):
        frames.parse_header(text, 100)


def test_round_trip() -> None:
    """What is packed is read again."""
    message = frames.pack({"a": 1}, {"k": b"123", "l": b""})
    length = frames.header_length(message[:4])
    header, sizes = frames.parse_header(message[4 : 4 + length], 100)
    assert header == {"a": 1} and sizes == {"k": 3, "l": 0}
