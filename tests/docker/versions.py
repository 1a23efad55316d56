"""Debian's order of versions."""

import subprocess


def newer(version: str, than: str) -> bool:
    """dpkg's own comparison."""
    done = subprocess.run(["dpkg", "--compare-versions", version, "gt", than], capture_output=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode == 0
