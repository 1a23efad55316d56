"""Object versions derived from content, for stores that have no versions of their own.

A version ends up in the pod status, which many may read. The plain digest of a short secret can be guessed offline, so
these digests are keyed.
"""

import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path

from runtime.errors import ConfigurationError

KEY_BYTES = 32
_VERSION_CHARACTERS = 32


class Versions:
    """Digests under one key: the same content under the same key has the same version.

    Without a key each process has a random one, so all versions change with a restart; ``load_key`` keeps one.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self._key = secrets.token_bytes(KEY_BYTES) if key is None else key

    def of(self, name: str, contents: bytes) -> str:
        """The version of the object ``name``. Two objects with equal contents have different versions, so that versions
        do not reveal which secrets are equal.
        """
        return self.derive("version", name, contents=contents).hex()[:_VERSION_CHARACTERS]

    def derive(self, purpose: str, *parts: str, contents: bytes = b"") -> bytes:
        """32 bytes that only the holder of the key can compute. The parts are separated by NUL, so that ``("a", "bc")``
        and ``("ab", "c")`` differ.
        """
        head = "\0".join((purpose, *parts)).encode() + b"\0\0"
        return hmac.new(self._key, head + contents, hashlib.sha256).digest()


def load_key(path: str) -> bytes | None:
    """The key in the file ``path``, which is created (mode 0600) if it does not exist; None for an empty path.

    A file that cannot be read or created, or is too short, is a ConfigurationError.
    """
    if not path:
        return None
    try:
        if not os.path.exists(path):
            _create(path)
        key = Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read or create the key file {path}: {error.strerror}") from None
    if len(key) < KEY_BYTES:
        raise ConfigurationError(
            f"the key file {path} is shorter than {KEY_BYTES} bytes: remove it, and a new one is created"
        )
    return key


def _create(path: str) -> None:
    # Written aside and linked into place whole: neither a crash half-way nor a second process leaves a short key.
    draft = f"{path}.{secrets.token_hex(4)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
        with suppress(FileExistsError):  # another process was first: its key counts
            os.link(draft, path)
    finally:
        os.unlink(draft)
