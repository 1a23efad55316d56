"""The parser's process: reads requests from standard input, answers on standard output, until its input ends.

    python -I -m driver.sync.parser.worker

It limits itself before it reads anything: no privileges, no core dump, little memory, the lowest priority, and first in
line when memory runs out.
"""

import contextlib
import os
import resource
import sys
from collections.abc import Mapping
from typing import Any, BinaryIO

from driver import limits
from driver.sync import formats, tls
from driver.sync.parser import frames
from runtime.errors import Failure
from runtime.privileges import harden

NOBODY = 65534


def main() -> None:
    """Serve until the driver closes the pipe."""
    tls.preload()
    formats.preload()
    restrict()
    serve(sys.stdin.buffer, sys.stdout.buffer)


def restrict() -> None:
    """Give up what parsing does not need. What the machine does not allow (a user namespace, say) is left as it is."""
    resource.setrlimit(resource.RLIMIT_DATA, (limits.PARSE_MEMORY_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    with contextlib.suppress(OSError):
        os.nice(10)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    if os.getuid() == 0:
        with contextlib.suppress(OSError):
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
    harden()  # after the change of the user id, which resets whether a process is dumpable
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def serve(requests: BinaryIO, responses: BinaryIO) -> None:
    """Answer request after request."""

    def exactly(count: int) -> bytes:
        data = requests.read(count)
        if len(data) < count:
            raise EOFError
        return data

    while True:
        try:
            header, blobs = frames.read(exactly, limits.MAX_SECRET_BYTES)
        except (EOFError, frames.BadFrame):
            return
        # The kernel ends the process when a request has used up its CPU time.
        used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        resource.setrlimit(resource.RLIMIT_CPU, (int(used) + limits.PARSE_CPU_SECONDS, resource.RLIM_INFINITY))
        responses.write(answer(header, blobs))
        responses.flush()


def answer(header: Mapping[str, Any], blobs: frames.Blobs) -> bytes:
    """The response to one request."""
    try:
        if header.get("operation") == "tls":
            return frames.pack({}, tls.assemble(blobs))
        return _entries(str(header.get("operation")), blobs)
    except tls.BadPart as failure:
        return frames.pack({"error": str(failure), "key": failure.key})
    except Failure as failure:
        return frames.pack({"error": str(failure), "key": ""})
    except MemoryError:
        return frames.pack({"error": "it needs too much memory to be read", "key": ""})


def _entries(kind: str, blobs: frames.Blobs) -> bytes:
    found = [entry for content in blobs.values() for entry in formats.entries(content, kind)]
    return frames.pack(
        {"keys": [key for key, _ in found]}, {str(place): value for place, (_, value) in enumerate(found)}
    )


if __name__ == "__main__":
    main()
