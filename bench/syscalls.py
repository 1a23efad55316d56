"""The system calls of a volume, for its publish and unpublish together, counted by strace.

python -m bench.syscalls
"""

import tempfile
from pathlib import Path

from bench.observation import observe
from tests.support import namespaces

VOLUMES = 100


def count() -> dict[str, float]:
    """Calls per volume by name, most frequent first. All threads are counted, while they are idle, too: less than 0.01
    is noise.
    """
    with tempfile.NamedTemporaryFile(prefix="strace-") as output:
        observe(lambda pid: ("strace", "-f", "-c", "-U", "name,calls", "-o", output.name, "-p", str(pid)), VOLUMES, 1)
        rows = [line.split() for line in Path(output.name).read_text().splitlines()]
    calls = {row[0]: int(row[1]) / VOLUMES for row in rows if len(row) == 2 and row[1].isdigit() and row[0] != "total"}
    return dict(sorted(calls.items(), key=lambda item: -item[1]))


if __name__ == "__main__":
    namespaces.enter_private()
    counts = count()
    print(
        f"{sum(counts.values()):.0f} per volume:",
        ", ".join(f"{name} {number:.1f}" for name, number in counts.items() if number >= 0.5),
    )
