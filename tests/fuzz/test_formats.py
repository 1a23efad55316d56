"""Objects whose entries become keys of a Secret: JSON, dotenv and Java properties as stores deliver them."""

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from driver.sync import formats
from driver.sync.parser import frames, worker
from runtime.errors import PreconditionFailed
from tests.fuzz.effort import fuzzed, tally

PIECES = (
    *(
        "a",
        "key",
        "k.e-y",
        "=",
        ":",
        " ",
        "\t",
        "\n",
        "\r\n",
        "\r",
        "\f",
        "#",
        "!",
        "\\",
        "\\\n  ",
        "export ",
        "'",
        '"',
    ),
    *("${a}", "`", "\\u0041", "\\u00", "\\uD800", "\\x41", "\\N{BULLET}", "\\n", "\\0", "\0", "\ufeff", "\u2028", "é"),
    *('"b"', "'a'", '{"a":', "}", "[", "]", "1e999", "1" * 5000, "NaN", "null", "true", '"\\ud800"', ",", "[" * 3000),
    *('{"a":1,"a":2}', '{"a":' * 3000, "\U0001f600"),
)
texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=12).map("".join)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(kind=st.sampled_from([*formats.READERS, "other"]), content=texts.map(str.encode) | st.binary(max_size=30))
@example(kind="json", content=b"[" * 100_000)
@example(kind="json", content=b'{"a":' * 100_000)
@fuzzed(300)
def test_any_object(kind: str, content: bytes) -> None:
    """Any bytes as an object of any format → keys and values that the driver can read from the answer, or a sentence in
    which nothing but a key is of the object's."""
    tally("objects of entries")
    reply = worker.answer({"operation": kind}, {"object": content})
    length = frames.header_length(reply[:4])
    header, sizes = frames.parse_header(reply[4 : 4 + length], len(reply))
    if "error" in header:
        assert 0 < len(header["error"]) < 300 and header["error"].isprintable()
        return
    found = formats.entries(content, kind)
    assert header["keys"] == [key for key, _ in found]
    assert list(sizes.values()) == [len(value) for _, value in found]


@given(document=st.dictionaries(st.text(max_size=6), values, max_size=5), indent=st.sampled_from([None, 1]))
@fuzzed(150)
def test_json(document: dict[str, Any], indent: int | None) -> None:
    """A map as JSON → its keys in their order; a text is the value as it is, everything else is JSON that says the
    same."""
    tally("JSON maps")
    found = formats.entries(json.dumps(document, indent=indent).encode(), "json")
    assert [key for key, _ in found] == list(document)
    for (_, value), expected in zip(found, document.values(), strict=True):
        text = value.decode()
        assert (text if isinstance(expected, str) else json.loads(text)) == expected


@given(
    pairs=st.dictionaries(
        st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True), st.text("abc =#'.$", max_size=8)
    )
)
@fuzzed(100)
def test_dotenv(pairs: dict[str, str]) -> None:
    """Settings in double quotes → the same settings."""
    tally("dotenv files")
    content = "".join(f'{key}="{value}"\n' for key, value in pairs.items()).encode()
    try:
        found = formats.entries(content, "dotenv")
    except PreconditionFailed as failure:
        raise AssertionError(content) from failure
    assert found == [(key, value.encode()) for key, value in pairs.items()]
