"""The keys of a Secret that come from whole objects."""

import asyncio

import pytest

from driver import limits
from driver.ports import KeySource
from driver.sync.formats import entries
from driver.sync.key_sources import collect, key_of, require_keys
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


def test_no_key_at_all() -> None:
    """Scenario: objects without entries. Expected: a sentence, as a Secret with content would lose all of it."""
    with pytest.raises(PreconditionFailed, match="dataFrom: the objects have no entries"):
        require_keys({})


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


class Counted(Inline):
    """Counts what it was asked; each object has one entry, or many, of other names each time."""

    def __init__(self, names: int, size: int) -> None:
        self.asked = 0
        self._found = [(f"k{number}", b"x" * size) for number in range(names)]

    async def entries(self, namespace: str, kind: str, content: bytes) -> list[tuple[str, bytes]]:
        """The entries."""
        self.asked += 1
        return self._found


@pytest.mark.parametrize(
    ("sources", "names", "size", "asked", "sentence"),
    [
        (65, 1, 1, 0, "65 sources, and at most 64"),
        (25_000, 1, 1, 0, "25000 sources, and at most 64"),
        (64, 1000, 1, 2, "dataFrom[1]: with it there are 2000 keys, and at most 1024"),
        (64, 1, 1_000_000, 2, "dataFrom[1]: with it there are 2000000 bytes, and a Secret holds at most 1048576"),
        (64, 10, 30_000, 4, "dataFrom[3]: with it there are 1200000 bytes"),
    ],
)
def test_much_from_many_sources(sources: int, names: int, size: int, asked: int, sentence: str) -> None:
    """Scenario: one object as the source of more and more keys, each time with another prefix. Expected: refused as
    soon as it is too much, before the others are parsed and held in memory: 400 of a megabyte took 400 MiB."""
    parser = Counted(names, size)
    items = [KeySource("app.json", "json", f"p{number}_") for number in range(sources)]
    with pytest.raises(PreconditionFailed) as raised:
        asyncio.run(collect(items, FILES, "default", parser))
    assert sentence in str(raised.value) and parser.asked == asked


def test_what_is_replaced_does_not_count() -> None:
    """Scenario: large values of the same keys, again and again. Expected: the last ones, and no complaint."""
    items = [KeySource("app.json", "json")] * limits.MAX_KEY_SOURCES
    data, repeated = asyncio.run(collect(items, FILES, "default", Counted(2, 500_000)))
    assert len(data) == len(repeated) == 2
