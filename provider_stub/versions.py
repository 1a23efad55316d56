"""Versions from content, for stores that have none of their own.

A version ends up in the pod status, which many may read. A plain digest of a short secret can be guessed offline, so
it is keyed.
"""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from runtime.errors import ConfigurationError

KEY_BYTES = 32
_VERSION_CHARACTERS = 32


class Versions:
    """Digests under one key; the same content under the same key has the same version."""

    def __init__(self, key: bytes | None = None) -> None:
        self._key = secrets.token_bytes(KEY_BYTES) if key is None else key

    def of(self, name: str, contents: bytes) -> str:
        """The version of an object; equal contents of two objects differ, so that nobody sees that two secrets
        are one.
        """
        return self.derive("version", name, contents=contents).hex()[:_VERSION_CHARACTERS]

    def derive(self, purpose: str, *parts: str, contents: bytes = b"") -> bytes:
        """32 bytes that only the key's holder can compute; parts are separated so that no two lists of them meet."""
        head = "\0".join((purpose, *parts)).encode() + b"\0\0"
        return hmac.new(self._key, head + contents, hashlib.sha256).digest()


def load_key(path: str) -> bytes | None:
    """The key of ``path``, made there (0600) if it does not exist; None for an empty path: a new key with each
    start.
    """
    if not path:
        return None
    try:
        if not os.path.exists(path):
            _create(path)
        key = Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read or make the key {path}: {error.strerror}") from None
    if len(key) < KEY_BYTES:
        raise ConfigurationError(f"the key {path} is shorter than {KEY_BYTES} bytes: remove it to have one made")
    return key


def _create(path: str) -> None:
    # Linked into place whole: a process that dies half-way, or a second one, never leaves a short key.
    draft = f"{path}.{secrets.token_hex(4)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
        try:  # noqa: SIM105
            os.link(draft, path)
        except FileExistsError:
            pass  # another one was first; its key counts
    finally:
        os.unlink(draft)
