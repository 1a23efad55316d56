"""What each group of faults does. A striker causes the trouble, waits for its end, and puts right what does not put
itself right; it returns whether there was anything to strike."""

import asyncio
import json
import resource
import shutil
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from tests.faults.storm.kinds import KINDS
from tests.faults.storm.launcher import SHIFT
from tests.faults.storm.provider import NAME as PROVIDER
from tests.faults.storm.schedule import Step
from tests.faults.storm.world import CLASSES_PATH, DRIVER, World

Striker = Callable[[World, Step], Awaitable[bool]]
CLOCK_SHIFTS = (3600.0, -3600.0, 30 * 86400.0, -86400.0, 600.0, -600.0, 5.0, -5.0)
# How many descriptors a driver may open while they are short.
SPARE_DESCRIPTORS = 3


async def strike(world: World, step: Step) -> None:
    """Carry out one step, to its end."""
    kind = KINDS[step.kind]
    if await _STRIKERS[kind.group](world, step):
        world.counts.add(step.kind)


def _signal(world: World, name: str, number: signal.Signals) -> int | None:
    if name == "api":
        return world.api.signal(number)
    if name == "provider":
        return world.provider.signal(number)
    return world.container.signal(name, number)


async def _kill(world: World, step: Step) -> bool:
    return _signal(world, KINDS[step.kind].detail, signal.SIGKILL) is not None


async def _end(world: World, step: Step) -> bool:
    detail = KINDS[step.kind].detail
    if detail == "container":
        await world.container.end()
        return True
    return _signal(world, detail, signal.SIGTERM) is not None


async def _stop(world: World, step: Step) -> bool:
    pid = _signal(world, KINDS[step.kind].detail, signal.SIGSTOP)
    if pid is None:
        return False
    try:
        process = psutil.Process(pid)
        await asyncio.sleep(step.seconds)
    finally:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGCONT)  # psutil makes sure that it is still the same process
    return True


async def _api(world: World, step: Step) -> bool:
    kind = KINDS[step.kind]
    world.api.order({"kind": kind.name, "detail": kind.detail, "seconds": step.seconds, "choice": step.choice})
    await asyncio.sleep(step.seconds)
    return False  # the API server counts whom it has struck


async def _provider(world: World, step: Step) -> bool:
    kind = KINDS[step.kind]
    order = json.dumps({"kind": kind.name, "detail": kind.detail, "choice": step.choice})
    world.write("orders", order)
    world.next_generation()
    await asyncio.sleep(step.seconds)
    with suppress(FileNotFoundError):
        if (world.vault / "orders").read_text() == order:  # no later order has taken its place
            (world.vault / "orders").unlink()
    return False  # the provider counts


async def _remove(world: World, step: Step) -> bool:
    match KINDS[step.kind].detail:
        case "csi-socket":
            return _unlink(world.csi_dir / "csi.sock")
        case "registration-socket":
            return _unlink(world.registry_dir / f"{DRIVER}-reg.sock")
        case "provider-socket":
            found = _unlink(world.providers_dir / f"{PROVIDER}.sock")
            # A provider that does not watch its socket is restarted by somebody.
            await asyncio.sleep(step.seconds)
            world.provider.signal(signal.SIGTERM)
            return found
        case "status-sockets":
            return sum(_unlink(path) for path in (world.tmp / "status").glob("*.sock")) > 0
        case "status-directory":
            return await _remove_directory(world.tmp / "status")
        case "csi-directory":
            return await _remove_directory(world.csi_dir)
        case "provider-directory":
            found = await _remove_directory(world.providers_dir)
            await asyncio.sleep(step.seconds)
            world.provider.signal(signal.SIGTERM)
            return found
    raise AssertionError(step)


def _unlink(path: Path) -> bool:
    with suppress(FileNotFoundError):
        path.unlink()
        return True
    return False


async def _remove_directory(path: Path) -> bool:
    if not path.exists():
        return False
    await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
    return True


async def _full(world: World, step: Step) -> bool:
    if KINDS[step.kind].detail == "tmp":
        return await _fill(world.tmp / "full", step.seconds)
    process = world.container.processes().get("driver")
    if process is None:
        return False
    with suppress(psutil.NoSuchProcess, ProcessLookupError):
        soft, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (process.num_fds() + SPARE_DESCRIPTORS, hard))
        try:
            await asyncio.sleep(step.seconds)
        finally:
            if process.is_running():
                resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (soft, hard))
        return True
    return False


async def _fill(path: Path, seconds: float) -> bool:
    def fill() -> None:
        with suppress(OSError), path.open("ab", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)

    await asyncio.to_thread(fill)
    await asyncio.sleep(seconds)
    path.unlink(missing_ok=True)
    return True


async def _clock(world: World, step: Step) -> bool:
    shift = CLOCK_SHIFTS[int(step.choice * len(CLOCK_SHIFTS))]
    world.clock[SHIFT] = shift
    await asyncio.sleep(step.seconds)
    if world.clock[SHIFT] == shift:
        world.clock[SHIFT] = 0.0
    return True


async def _log(world: World, step: Step) -> bool:
    world.container.output.reading.clear()
    await asyncio.sleep(step.seconds)
    world.container.output.reading.set()
    return True


async def _class(world: World, step: Step) -> bool:
    names = ("plain", "many", "large", "synced")
    name = names[int(step.choice * len(names))]
    match KINDS[step.kind].detail:
        case "edited":
            await world.make_class(name, edit=str(step.number))
        case "wrong":
            await world.make_class(name, content="absent")
        case "deleted":
            await world.admin.call("DELETE", f"{CLASSES_PATH}/{name}", accepted=(404,))
    await asyncio.sleep(step.seconds)
    await world.make_class(name)
    return True


_STRIKERS: Mapping[str, Striker] = {
    "kill": _kill,
    "end": _end,
    "stop": _stop,
    "api": _api,
    "provider": _provider,
    "remove": _remove,
    "full": _full,
    "clock": _clock,
    "log": _log,
    "class": _class,
}
