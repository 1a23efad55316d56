"""All entries of an object, in each format."""

import pytest

from driver import limits
from driver.sync.formats import entries
from runtime.errors import PreconditionFailed

GOOD = {
    ("json", '{"user": "app", "port": 5432}'): [("user", b"app"), ("port", b"5432")],
    ("json", '{"a": 1.10, "b": 1e400, "c": true, "d": null}'): [
        ("a", b"1.10"), ("b", b"1e400"), ("c", b"true"), ("d", b"null"),
    ],
    ("json", '{"a": {"b": ["x", 2.50, {"ü": null}]}}'): [("a", '{"b":["x",2.50,{"ü":null}]}'.encode())],
    ("json", '{"a": "1", "a": "2"}'): [("a", b"1"), ("a", b"2")],
    ("json", '\ufeff{"a": "\\u00fc\\n"}'): [("a", "ü\n".encode())],
    ("json", "{}"): [],
    ("dotenv", "# comment\nexport USER=app\nPASSWORD='a b' # x\nURL=\"x\\ny\"\n"): [
        ("USER", b"app"), ("PASSWORD", b"a b"), ("URL", b"x\ny"),
    ],
    ("dotenv", "A=${HOME}\nB="): [("A", b"${HOME}"), ("B", b"")],
    ("dotenv", "A=1\r\nA=2\r\n"): [("A", b"1"), ("A", b"2")],
    ("properties", "user=app\n! comment\nurl = http\\://x\\\n  /y\nkey\\ space:\\u00fc\n"): [
        ("user", b"app"), ("url", b"http://x/y"), ("key space", "ü".encode()),
    ],
    ("properties", "a=\nb:\nc d\ne\\=f=\n"): [("a", b""), ("b", b""), ("c", b"d"), ("e=f", b"")],
}  # fmt: skip  # one format each
BAD = {
    ("json", "{"): "it is not JSON (line 1, column 2)",
    ("json", "[1]"): "its JSON is not a map",
    ("json", '"text"'): "its JSON is not a map",
    ("json", '{"a": NaN}'): "it is not JSON",
    ("json", "[" * 100_000): "nested too deeply",
    ("json", '{"a": ' * 5_000 + "1" + "}" * 5_000): "nested too deeply",
    ("dotenv", "A=1\n'broken\n"): "line 2 is no KEY=value",
    ("dotenv", "A=1\ns3cret\n"): "line 2 is no KEY=value",
    ("dotenv", "export A"): "line 1 is no KEY=value",
    ("dotenv", "-----BEGIN CERTIFICATE-----"): "line 1 is no KEY=value",
    ("dotenv", '{"url":"a=b"}'): "it is not dotenv: it begins with '{', as JSON does",
    ("dotenv", '\n [{"a": 1}]'): "it begins with '[', as JSON does",
    ("dotenv", '<a b="c"/>'): "it begins with '<', as XML does",
    ("properties", "a=\\u00g0"): "not followed by four hex digits",
    ("properties", "s3cret"): "entry 1 has no '=' or ':' after its key",
    ("properties", "a=1\ns3cret\\=x\n"): "entry 2 has no '=' or ':' after its key",
    ("properties", '{"user": "app"}'): "it is not a properties file: it begins with '{', as JSON does",
    ("properties", '<?xml version="1.0"?>'): "it begins with '<', as XML does",
    ("yaml", "a: 1"): "format yaml is unknown: use json, dotenv, properties",
}


@pytest.mark.parametrize(("kind", "text"), GOOD)
def test_entries(kind: str, text: str) -> None:
    """Scenario: a readable object. Expected: its entries in order, duplicates included, values as they were written."""
    assert entries(text.encode(), kind) == GOOD[kind, text]


@pytest.mark.parametrize(("kind", "text"), BAD)
def test_unreadable(kind: str, text: str) -> None:
    """Scenario: an object in another format, or broken. Expected: a sentence that says so, and nothing of the value."""
    sentence = BAD[kind, text]
    with pytest.raises(PreconditionFailed) as raised:
        entries(text.encode(), kind)
    assert sentence in str(raised.value) and "s3cret" not in str(raised.value)


def test_binary() -> None:
    """Scenario: bytes that are no text. Expected: a sentence."""
    with pytest.raises(PreconditionFailed, match="it is not UTF-8 text"):
        entries(b"\xff\xfe{}", "json")


def test_too_many() -> None:
    """Scenario: one entry more than a Secret may have. Expected: a sentence with the limit."""
    text = "\n".join(f"K{number}=1" for number in range(limits.MAX_SECRET_KEYS + 1))
    with pytest.raises(PreconditionFailed, match=str(limits.MAX_SECRET_KEYS)):
        entries(text.encode(), "dotenv")
