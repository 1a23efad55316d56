"""The keys of a Secret that come from whole objects."""

import asyncio

import pytest

from driver import limits
from driver.ports import KeySource
from driver.sync.formats import entries
from driver.sync.key_sources import collect, key_of
from driver.sync.parser.client import BadPart
from runtime.errors import PreconditionFailed

FILES = {"app.json": b'{"user": "app", "db/password": "s3cret"}', "app.env": b"user=other\n", "tls/cert": b"\xff"}


class Inline:
    """The parser without its process."""

    async def entries(self, namespace: str, kind: str, content: bytes) -> list[tuple[str, bytes]]:
        """Parse, with the failures of the process."""
        try:
            return entries(content, kind)
        except PreconditionFailed as failure:
            raise BadPart("", str(failure)) from None


def keys(*sources: KeySource) -> tuple[dict[str, bytes], list[str]]:
    """What the sources give."""
    return asyncio.run(collect(sources, FILES, "default", Inline()))


def test_an_object_and_a_prefix() -> None:
    """Scenario: a JSON object with a prefix. Expected: a key for each entry, foreign characters replaced."""
    assert keys(KeySource("app.json", "json", "DB_")) == ({"DB_user": b"app", "DB_db_password": b"s3cret"}, [])


def test_all_files() -> None:
    """Scenario: all. Expected: a key for each file, binary ones included."""
    assert set(keys(KeySource(all=True))[0]) == {"app.json", "app.env", "tls_cert"}


def test_the_later_source_counts() -> None:
    """Scenario: two sources with one key. Expected: the later one's value, and the key is reported."""
    data, repeated = keys(KeySource("app.json", "json"), KeySource("app.env", "dotenv"))
    assert data["user"] == b"other" and repeated == ["user"]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (KeySource(), "dataFrom[0]: set objectName and format, or all: true"),
        (KeySource("app.json"), "must be one of json, dotenv, properties"),
        (KeySource("app.json", "yaml"), "format yaml must be one of"),
        (KeySource("none", "json"), "file matching objectName none not found; there are: app.env, app.json"),
        (KeySource("app.json", all=True), "all takes every file: remove objectName and format, or all"),
        (KeySource("app.env", "json"), "objectName app.env: it is not JSON"),
        (KeySource("tls/cert", "json"), "objectName tls/cert: it is not json: it is not UTF-8 text"),
    ],
)
def test_mistakes(source: KeySource, sentence: str) -> None:
    """Scenario: a mistake in dataFrom. Expected: a sentence that names its place and what to write."""
    with pytest.raises(PreconditionFailed) as raised:
        keys(source)
    assert sentence in str(raised.value)


@pytest.mark.parametrize(
    ("name", "key"), [("a b", "a_b"), ("ü", "_"), ("a/b.c-d_e", "a_b.c-d_e"), ("a\nb", "a_b"), ("$", "_")]
)
def test_names(name: str, key: str) -> None:
    """Scenario: names that a key cannot have. Expected: the rule in the module's docstring."""
    assert key_of("", name) == key


@pytest.mark.parametrize("name", ["", ".", "..", "x" * 254])
def test_impossible_names(name: str) -> None:
    """Scenario: names from which no key can be made. Expected: a sentence."""
    with pytest.raises(PreconditionFailed):
        key_of("", name)


def test_too_many_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario: more keys from all sources than are possible. Expected: a sentence with the limit."""
    monkeypatch.setattr(limits, "MAX_SECRET_KEYS", 2)
    with pytest.raises(PreconditionFailed, match="3 keys, and at most 2"):
        keys(KeySource(all=True))
