"""From an entry of secretObjects and a volume's files to the Secret, or to a sentence that says what to do."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from driver import limits
from driver.ports import ClassRef, KeySource, SecretObject
from driver.sync import wanted
from driver.volume import content
from runtime.errors import Failure, PreconditionFailed
from tests.driver.sync.test_key_sources import Inline

REF = ClassRef("ns", "app")


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A volume as the atomic writer leaves it."""
    target = tmp_path / "mount"
    current = target / "..2026"
    (current / "sub").mkdir(parents=True)
    (current / "password").write_bytes(b"s3cret\x00")
    (current / "sub" / "file").write_bytes(b"below")
    (target / "..data").symlink_to("..2026")
    for name in ("password", "sub"):
        (target / name).symlink_to(f"..data/{name}")
    return target


def entry(**fields: Any) -> SecretObject:
    """An entry that is right but for ``fields``."""
    return SecretObject(**{"secret_name": "s", "type": "Opaque", "data": (("password", "k"),), **fields})


def build(volume: Path, item: SecretObject, limit: int = 1 << 20) -> wanted.Wanted:
    """The Secret."""
    return wanted.build(REF, item, str(volume), limit, 1.0)


def test_bytes_are_not_changed(volume: Path) -> None:
    """Names are trimmed as the Go driver does, a path below a directory is one name, contents stay as they are."""
    found = build(
        volume,
        entry(secret_name=" s ", type=" ", data=((" password ", " k "), ("sub/file", "f"), ("password", "again"))),
    )
    assert (found.name, found.type) == ("s", "Opaque")
    assert found.data == {"k": b"s3cret\x00", "f": b"below", "again": b"s3cret\x00"}


def test_the_last_of_a_repeated_key_counts(volume: Path) -> None:
    """A key is listed twice or three times, also with other spaces → its last value, and its name once."""
    pairs = (("password", "k"), ("password", "once"), ("password", " k"), ("sub/file", "k "), ("sub/file", "b"))
    found = build(volume, entry(data=(*pairs, ("password", "b"))))
    assert found.data == {"k": b"below", "once": b"s3cret\x00", "b": b"s3cret\x00"}
    assert found.repeated == ("b", "k")


@pytest.mark.parametrize(
    "fields, sentence",
    [
        ({"secret_name": " "}, "secret name is empty"),
        ({"secret_name": "A"}, "must be a DNS name"),
        ({"secret_name": "a" * 254}, "must be a DNS name"),
        ({"type": ""}, "secret type is empty"),
        ({"type": "bootstrap.kubernetes.io/token "}, "is refused"),
        ({"type": "helm.sh/release.v1"}, "type helm.sh/release.v1 is refused"),
        ({"type": " helm.sh/release.v1 "}, "is refused"),
        ({"type": "bootstrap.kubernetes.io/token"}, "is refused"),
        ({"data": ()}, "data is empty"),
        ({"deletion_policy": "Keep"}, "deletionPolicy must be WithPods (the default: "),
        ({"deletion_policy": "withClass"}, "or WithClass (it stays as long as the class)"),
        ({"deletion_policy": "WithClass,WithPods"}, "deletionPolicy must be "),
        ({"data": tuple(("password", f"k{number}") for number in range(1025))}, "data has 1025 keys"),
        ({"data": tuple(("password", f"k{number}") for number in range(40_000))}, "at most 1024 keys"),
        ({"data": tuple(("password", f"{number:0200}") for number in range(600))}, "keys of 120000 bytes in all"),
        ({"data": (("", "k"),)}, "an objectName is empty"),
        ({"data": (("password", " "),)}, "the key of objectName password is empty"),
        ({"data": (("password", "a/b"),)}, "key a/b must be"),
        ({"data": (("nothing", "k"),)}, "which has: password, sub/file"),
    ],
)
def test_refusals(volume: Path, fields: dict[str, Any], sentence: str) -> None:
    """Each names the class, the Secret and the field, and nothing of a file."""
    with pytest.raises(PreconditionFailed) as failure:
        build(volume, entry(**fields))
    assert str(failure.value).startswith("failed to get data in spc ns/app for secret ")
    assert sentence in str(failure.value) and "s3cret" not in str(failure.value)


@pytest.mark.parametrize(
    "source, sentence",
    [
        (KeySource(), "set objectName and format, or all: true"),
        (KeySource(prefix="DB_"), "set objectName and format, or all: true"),
        (KeySource(format="json"), "set objectName and format, or all: true"),
        (KeySource("password"), "format is missing and must be one of json, dotenv, properties"),
        (KeySource("password", "yaml"), "format yaml must be one of"),
        (KeySource("password", "JSON"), "format JSON must be one of"),
        (KeySource("password", all=True), "all takes every file: remove objectName and format, or all"),
        (KeySource(format="json", all=True), "all takes every file"),
        (KeySource("nothing", "json"), "file matching objectName nothing not found; there are: password, sub/file"),
        (KeySource("/password", "json"), "file matching objectName /password not found"),
        (KeySource("file", "json"), "file matching objectName file not found"),
        (KeySource("password", "json"), "objectName password: it is not JSON"),
        (KeySource("password", "dotenv"), "objectName password: it is not dotenv: line 1 is no KEY=value"),
        (KeySource("password", "properties"), "objectName password: it is not a properties file: entry 1 has no"),
        (KeySource("sub/file", "json", prefix="x"), "objectName sub/file: it is not JSON"),
        (KeySource(all=True, prefix="p" * 250), "characters, and at most 253 are possible"),
    ],
)
def test_whole_objects(volume: Path, source: KeySource, sentence: str) -> None:
    """A mistake in dataFrom → a sentence that names the class, the Secret and the place, and nothing of a file."""
    item = entry(data=(), data_from=(source,))

    async def whole() -> None:
        await wanted.with_objects(build(volume, item), item, Inline())

    with pytest.raises(PreconditionFailed) as failure:
        asyncio.run(whole())
    text = str(failure.value)
    assert text.startswith("failed to get data in spc ns/app for secret s, err: dataFrom[0]: ")
    assert sentence in text and "s3cret" not in text


def test_limits(volume: Path) -> None:
    """A Secret above Kubernetes' limit, and a volume above ours."""
    (volume / "..2026" / "password").write_bytes(b"x" * (limits.MAX_SECRET_BYTES + 1))
    with pytest.raises(Failure, match="a Secret holds at most"):
        build(volume, entry(), 1 << 22)
    with pytest.raises(Failure, match="bytes that are read at once"):
        build(volume, entry(), 1000)


def test_a_volume_without_content(tmp_path: Path) -> None:
    """A target that was unmounted meanwhile."""
    with pytest.raises(wanted.NoContent):
        build(tmp_path / "gone", entry())


def test_a_swap_while_reading(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The content is swapped in the middle: it is read again, and all keys are of one generation."""
    original = content.read_files
    swapped: list[bool] = []

    def swap(path: str, limit: int) -> dict[str, bytes]:
        found = original(path, limit)
        if not swapped:
            fresh = volume / "..2027"
            fresh.mkdir()
            (fresh / "password").write_bytes(b"new")
            (volume / "..tmp").symlink_to("..2027")
            os.replace(volume / "..tmp", volume / "..data")
            swapped.append(True)
        return found

    monkeypatch.setattr(content, "read_files", swap)
    assert build(volume, entry()).data == {"k": b"new"}
