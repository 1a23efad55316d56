"""The load generator, ``python -m bench.load``: a process that reads one job per line (JSON) and replies with one line.

The jobs: ``publish`` and ``unpublish`` (see ``load_volumes``), ``empty`` (their calls to a server with empty replies),
``probe``, ``getinfo``, and ``http`` (see ``load_http``).
"""

import asyncio
import json
import sys
import time
from typing import Any

from bench import wire
from bench.load_http import http
from bench.load_volumes import VolumeCalls
from protos import csi_pb2

_PROBE = wire.request(wire.Method("/csi.v1.Identity/Probe"), b"")
_GET_INFO = wire.request(wire.Method("/pluginregistration.Registration/GetInfo"), b"")
PROBE_SECONDS = 30.0

Job = dict[str, Any]


async def probe(job: Job) -> Job:
    """Call Probe until it reports ready; replies with the wall clock time of that, None after ``timeout`` seconds."""
    end = time.monotonic() + job.get("timeout", PROBE_SECONDS)
    while True:
        try:
            reply = csi_pb2.ProbeResponse.FromString(await wire.call(job["socket"], _PROBE))
            if reply.ready.value or not reply.HasField("ready"):
                return {"at": time.time()}
        except (wire.CallFailed, OSError):
            pass
        if time.monotonic() > end:
            return {"at": None}
        await asyncio.sleep(0.002)


async def empty(job: Job) -> Job:
    """The calls of a publish, to a server that replies with nothing."""
    return await VolumeCalls({**job, "do": "unpublish", "capabilities": job.get("capabilities", 2)}).run()


async def getinfo(job: Job) -> Job:
    """``count`` calls of GetInfo to a registrar, each on a new connection, as kubelet polls it."""
    seconds: list[float] = []
    failures: list[str] = []
    for _ in range(job["count"]):
        started = time.perf_counter()
        try:
            await wire.call(job["socket"], _GET_INFO)
        except (wire.CallFailed, OSError) as error:
            failures.append(f"{type(error).__name__}: {error}")
        else:
            seconds.append(time.perf_counter() - started)
    return {"seconds": seconds, "failures": failures}


async def perform(job: Job) -> Job:
    """Do one job."""
    if job["do"] in ("publish", "unpublish"):
        return await VolumeCalls(job).run()
    return await {"probe": probe, "empty": empty, "http": http, "getinfo": getinfo}[job["do"]](job)


def main() -> None:
    """Do jobs until the end of the input."""
    for line in sys.stdin:
        print(json.dumps(asyncio.run(perform(json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
