"""The plugin watcher: every socket in plugins_registry is a plugin for as long as it exists.

The directory is scanned at start and then watched with inotify. Names with a leading dot are ignored, and so is
whatever is not a socket. Removing a socket deregisters its plugin, recreating it registers the plugin again. A failed
registration is retried with back-off.
"""

import asyncio
import os
import stat
from pathlib import Path

from kubelet_stub.backoff import Backoff
from kubelet_stub.codes import go_text
from kubelet_stub.config import Config
from kubelet_stub.drivers import Driver, Drivers
from kubelet_stub.events import EventLog, Reason
from kubelet_stub.registration import get_info, register
from runtime import inotify
from runtime.errors import Failure


class PluginWatcher:
    """Runs until it is cancelled."""

    def __init__(self, config: Config, drivers: Drivers, events: EventLog) -> None:
        self._config, self._drivers, self._events = config, drivers, events
        self._directory = config.registry_directory
        self._plugins: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Watch before the scan, so that nothing is missed in between."""
        self._directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        async with asyncio.TaskGroup() as tasks:
            with inotify.Watch(self._directory) as events:
                self._scan(tasks)
                async for event in events:
                    if event.kind is inotify.Kind.OVERFLOW:
                        self._scan(tasks)
                    elif event.kind is inotify.Kind.APPEARED:
                        await self._appeared(tasks, event.path)
                    elif event.kind is inotify.Kind.REMOVED:
                        await self._removed(event.path)

    def _scan(self, tasks: asyncio.TaskGroup) -> None:
        for path in sorted(self._directory.iterdir()):
            if _is_plugin(path) and path.name not in self._plugins:
                self._start(tasks, path)

    async def _appeared(self, tasks: asyncio.TaskGroup, path: Path) -> None:
        if _is_plugin(path):
            await self._removed(path)  # a socket that replaces another is a new registration, in kubelet too
            self._start(tasks, path)

    async def _removed(self, path: Path) -> None:
        task = self._plugins.pop(path.name, None)
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])
        for driver in self._drivers:
            if driver.socket == str(path):
                self._drivers.remove(driver.name)
                self._events.add(Reason.DEREGISTERED, driver.name, f"registration socket removed: {path}")

    def _start(self, tasks: asyncio.TaskGroup, path: Path) -> None:
        self._plugins[path.name] = tasks.create_task(self._plugin(str(path)))

    async def _plugin(self, socket: str) -> None:
        """The life of one plugin: registered, then polled until its socket is removed, which cancels this task."""
        await self._poll(await self._register(socket))

    async def _register(self, socket: str) -> Driver:
        backoff = Backoff(self._config.backoff_base, self._config.backoff_cap)
        while True:
            try:
                driver = await register(socket, self._config, self._drivers)
            except Failure as failure:
                self._events.add(Reason.REGISTRATION_FAILED, Path(socket).name, go_text(failure))
                await asyncio.sleep(backoff.failed())
                continue
            self._events.add(
                Reason.REGISTERED, driver.name, f"registered with endpoint {driver.endpoint}, node id {driver.node_id}"
            )
            return driver

    async def _poll(self, driver: Driver) -> None:
        """Newer kubelets call GetInfo about every 10 s; a plugin that does not answer stays registered."""
        while self._config.plugin_poll_interval > 0:
            await asyncio.sleep(self._config.plugin_poll_interval)
            try:
                await get_info(driver.socket)
            except Failure as failure:
                self._events.add(Reason.UNREACHABLE, driver.name, go_text(failure))
        await asyncio.Event().wait()


def _is_plugin(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False
