"""What the provider of the storm delivers: each file says in every part which class, file and generation it is of, so
that a reader can tell a whole volume from a mixture, and an older one from a newer one.

Each header contains the canary, a random text that must be found nowhere but in volumes and in synced Secrets.
"""

import base64
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

MANY = {f"item-{number:03d}": 1000 for number in range(150)}
CLASSES: Mapping[str, Mapping[str, int]] = {
    "plain": {"password": 120, "nested/key": 5000},
    "many": {**MANY, "deep/er/file": 100},
    "large": {"blob": 600_000, "mark": 100},
    "synced": {"user": 200, "pass": 400},
}
"""The files of each class, and their sizes in bytes."""
SYNCED_SECRET = "synced-secret"
CANARY = "CANARY"
_MAX_ATTEMPTS = 5


class Unwhole(Exception):
    """A volume that is not whole; says in what respect."""


def contents(canary: str, class_name: str, generation: int, name: str) -> bytes:
    """The content of one file."""
    header = f"{canary} {class_name} {generation} {name}\n".encode()
    size = max(CLASSES[class_name][name], len(header))
    return (header * (size // len(header) + 1))[:size]


def generation_of(content: bytes) -> int:
    """The generation that the content of a file claims. Raises Unwhole."""
    try:
        return int(content[:200].split(b" ")[2])
    except (IndexError, ValueError):
        raise Unwhole(f"a file has no header: {len(content)} bytes, {content[:80]!r}") from None


def read_volume(target: Path, canary: str, class_name: str) -> int:
    """Check the volume at a target path as a pod sees it; returns its generation.

    A reader that is between two content directories may miss a file, as with kubelet's own atomic writer; then it
    reads again. Raises Unwhole.
    """
    for attempt in range(_MAX_ATTEMPTS):
        try:
            return _read_once(target, canary, class_name)
        except OSError as error:
            if attempt == _MAX_ATTEMPTS - 1:
                raise Unwhole(f"cannot be read: {error}; it has {_listing(target)}") from None
    raise AssertionError("not reached")


def _read_once(target: Path, canary: str, class_name: str) -> int:
    data = os.open(target / "..data", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = {name: _read(data, name) for name in CLASSES[class_name]}
    finally:
        os.close(data)
    generation = generation_of(next(iter(found.values())))
    for name, content in found.items():
        if content != contents(canary, class_name, generation, name):
            raise Unwhole(
                f"{name} is not that of generation {generation}: {len(content)} bytes, {content[:80]!r}; "
                f"{[(other, generation_of(text)) for other, text in found.items()]}"
            )
    for name in CLASSES[class_name]:
        if not os.access(target / name, os.R_OK):  # the way in which a pod opens it
            raise FileNotFoundError(name)
    return generation


def _read(directory: int, name: str) -> bytes:
    opened = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    with open(opened, "rb") as file:
        return file.read()


def leftovers(target: Path) -> list[str]:
    """What is in a volume that no writer is at work on, and belongs neither to its content nor to its record."""
    current = os.readlink(target / "..data")
    return sorted(
        name for name in os.listdir(target) if name.startswith("..") and name not in ("..data", "..record", current)
    )


def _listing(target: Path) -> Sequence[str] | str:
    try:
        return sorted(os.listdir(target))
    except OSError as error:
        return str(error)


def encodings(secret: str) -> list[bytes]:
    """How a secret text may look where it must not be: as it is, in base64 at each of the three alignments, in hex."""
    plain = secret.encode()
    found = [plain, plain.hex().encode()]
    # Without the characters at both ends, which depend on the neighbours of the text.
    found += [
        base64.b64encode(b" " * shift + plain)[4 : -4 if (shift + len(plain)) % 3 else None] for shift in range(3)
    ]
    return found


def decoded(text: str) -> bytes:
    """The value of a Secret's key."""
    return base64.b64decode(text)
