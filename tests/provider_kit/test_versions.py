"""Versions derived from content, and the file that keeps their key."""

import stat
from pathlib import Path

import pytest

from provider_kit import ConfigurationError, Versions, load_key
from provider_kit.versions import KEY_BYTES

KEY = b"k" * KEY_BYTES


def test_versions_depend_on_key_name_and_content() -> None:
    """The same key, name and content: the same version; any other of the three: another one."""
    version = Versions(KEY).of("password", b"hunter2")
    assert version == Versions(KEY).of("password", b"hunter2")
    others = {
        Versions().of("password", b"hunter2"),
        Versions(KEY).of("other", b"hunter2"),
        Versions(KEY).of("password", b"hunter3"),
    }
    assert version not in others and len(others) == 3


def test_parts_are_separated() -> None:
    """Parts and content that read the same when joined: different values."""
    derived = Versions(KEY).derive
    values = {
        derived("p", "a", "bc"),
        derived("p", "ab", "c"),
        derived("p", "abc"),
        derived("p", "ab", contents=b"c"),
        derived("pa", "bc"),
    }
    assert len(values) == 5


def test_a_key_is_created_once(tmp_path: Path) -> None:
    """No file: a key is created with mode 0600, and read the next time; an empty path: no key. No draft is left."""
    path = tmp_path / "key"
    key = load_key(str(path))
    assert key is not None and len(key) == KEY_BYTES
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_key(str(path)) == key
    assert load_key("") is None
    assert [item.name for item in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize("content", [b"", b"short", b"k" * (KEY_BYTES - 1)])
def test_a_short_key_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file that is too short for a key: ConfigurationError, which says what to do, and the file stays as it is."""
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="remove it"):
        load_key(str(path))
    assert path.read_bytes() == content


@pytest.mark.parametrize("path", ["missing/key", "."])
def test_an_unusable_path_is_refused(tmp_path: Path, path: str) -> None:
    """A directory that does not exist, or a directory as the file: ConfigurationError, which names the file."""
    with pytest.raises(ConfigurationError, match="cannot read or create the key file"):
        load_key(str(tmp_path / path))
