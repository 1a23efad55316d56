"""``python -m bench.nodes.worker KIND NODES DIRECTORY``: many drivers in one process, which reads jobs as JSON lines.

``KIND`` is ours or trio, ``NODES`` the file that ``fleet.write`` wrote. A job is a method of ``Node`` that is called on
all nodes, at once or shortly after one another, and how long that may take:
``{"do": "refresh", "seconds": 60, "arguments": ["v2"], "spread": true}``. The answer says how long it took until the
last node had done it.
"""

import asyncio
import json
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.nodes import fleet
from bench.nodes.node import Node
from runtime import logs

STOP_SECONDS = 60.0
# Between the nodes of a process. They share its CPU time, which a real node has for itself: if all began at once, they
# would wait for one another until their calls' limits are over.
INTERVAL = 0.1


def nodes_of(kind: str, specs: Sequence[fleet.NodeSpec], directory: Path) -> list[Node]:
    """The nodes with the drivers of this kind."""
    if kind == "trio":
        from bench.nodes.trio import TrioNode

        return [TrioNode(spec) for spec in specs]
    from bench.nodes.ours import OurNode
    from driver.metrics import DriverMetrics
    from driver.volume.workers import DiskWorkers

    disk, metrics = DiskWorkers(), DriverMetrics(())
    return [OurNode(spec, directory, disk, metrics) for spec in specs]


async def serve(nodes: Sequence[Node]) -> None:
    """Do jobs until the input ends; then stop the nodes."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        job = json.loads(line)
        print(
            json.dumps(await do(nodes, job["do"], job["seconds"], job["arguments"], spread=job["spread"])), flush=True
        )
    await do(nodes, "stop", STOP_SECONDS, ())


async def do(
    nodes: Sequence[Node], what: str, seconds: float, arguments: Sequence[str], *, spread: bool = False
) -> dict[str, Any]:
    """One job: how many seconds it took, and what failed, which includes what was not done so many seconds after the
    last node has begun."""
    started = time.monotonic()
    tasks = []
    for node in nodes:
        tasks.append(asyncio.create_task(getattr(node, what)(*arguments)))
        await asyncio.sleep(INTERVAL if spread else 0.0)
    _, late = await asyncio.wait(tasks, timeout=seconds)
    for task in late:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    failures = [
        f"not done in {seconds:g} s" if task in late else repr(result)
        for task, result in zip(tasks, results, strict=True)
        if isinstance(result, BaseException)
    ]
    return {"seconds": time.monotonic() - started, "failures": failures}


def main(arguments: Sequence[str]) -> None:
    """Reads jobs from standard input."""
    kind, nodes, directory = arguments
    with Path(nodes).with_suffix(".log").open("w") as log:
        logs.configure("driver", stream=log)
        _serve(kind, Path(nodes), Path(directory))


def _serve(kind: str, nodes: Path, directory: Path) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(serve(nodes_of(kind, fleet.read(nodes), directory)))


if __name__ == "__main__":
    main(sys.argv[1:])
