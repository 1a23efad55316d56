"""The pins of a lock file."""

from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def pinned(lock: Path) -> dict[str, str]:
    """Versions by canonical name."""
    found = {}
    for line in lock.read_text().replace("\\\n", "").splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line.partition(" --hash")[0].strip())
            (specifier,) = requirement.specifier
            assert specifier.operator == "==", line
            found[str(canonicalize_name(requirement.name))] = specifier.version
    return found
