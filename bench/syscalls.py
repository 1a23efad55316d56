"""The system calls of one publish and one unpublish together, counted by strace.

python -m bench.syscalls
"""

import tempfile
from pathlib import Path

from bench.observe import observe
from tests.support import namespaces

VOLUMES = 100


def count() -> dict[str, float]:
    """Calls a volume by name, most first; of all threads, while idling too: less than one in a hundred is noise."""
    with tempfile.NamedTemporaryFile(prefix="strace-") as output:
        observe(lambda pid: ("strace", "-f", "-c", "-U", "name,calls", "-o", output.name, "-p", str(pid)), VOLUMES, 1)
        rows = [line.split() for line in Path(output.name).read_text().splitlines()]
    calls = {row[0]: int(row[1]) / VOLUMES for row in rows if len(row) == 2 and row[1].isdigit() and row[0] != "total"}
    return dict(sorted(calls.items(), key=lambda item: -item[1]))


if __name__ == "__main__":
    namespaces.enter_private()
    counted = count()
    print(
        f"{sum(counted.values()):.0f} a volume:",
        ", ".join(f"{name} {number:.1f}" for name, number in counted.items() if number >= 0.5),
    )
