"""Puts the controller together: its health and metrics, leader election, and what runs while it leads."""

import asyncio
import os
from contextlib import AsyncExitStack
from typing import Any

from driver.cluster.api import WATCH_IDLE_SECONDS, Api
from driver.cluster.applied_secrets import AppliedSecrets
from driver.cluster.class_store import ClassStore
from driver.cluster.events import EventRecorder
from driver.cluster.lease import Elected
from driver.cluster.secret_syncs import SecretSyncStore
from driver.cluster.tokens import TokenSource
from driver.cluster.watched_secrets import WatchedSecrets, may_watch
from driver.objects.secret_syncs import GROUP_VERSION, KIND, SecretSync
from driver.ports import Pod, PodEvent
from driver.providers.pool import ProviderPool
from driver.providers.sockets import ProviderSockets
from driver.secretsync.config import LEASE, SyncConfig
from driver.secretsync.controller import Controller
from driver.secretsync.fetching import Identity
from driver.secretsync.metrics import SyncMetrics
from driver.secretsync.reconciler import Cluster, Reconciler
from driver.sync.parser.client import Parser
from driver.volume.memory import MemoryBudget
from driver.volume.workers import DiskWorkers
from runtime import http, logs, metrics
from runtime.tasks import BackgroundTask, TaskSupervisor
from runtime.version import build

log = logs.get(__name__)

COMPONENT = "secrets-store-sync-controller"


class SyncEvents:
    """Implements ``ports.Events`` with the driver's recorder: the same series, counts and rates."""

    def __init__(self, api: Api) -> None:
        self._recorder = EventRecorder(api, "", COMPONENT, (GROUP_VERSION, KIND))
        self.run = self._recorder.run

    def send(self, sync: SecretSync, *, warning: bool, reason: str, message: str) -> None:
        """Queue an event."""
        about = Pod(sync.ref.namespace, sync.ref.name, sync.uid)
        self._recorder.put(PodEvent(about, warning, reason, message))


class SyncServer:
    """One replica."""

    def __init__(self, config: SyncConfig) -> None:
        self._config = config
        self._metrics = SyncMetrics()
        self._api = Api(config.kubeconfig, self._metrics.api.requested)
        self._metrics.api.compare_clocks(self._api.clock_offset)
        self._tasks = TaskSupervisor(self._metrics.background_task_failed)
        self._identity = Identity(config.pod_name, config.pod_uid)

    async def serve(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set."""
        config = self._config
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._api.close)
            for endpoint, routes in (
                (config.metrics, {"/metrics": http.SharedPage(self._metrics_page)}),
                (config.health, self._health()),
            ):
                if endpoint is not None:
                    await stack.enter_async_context(http.serve(endpoint, routes))
            log.info("Syncing Secrets", version=build().version, providers=config.provider_volume)
            await stack.enter_async_context(self._tasks.running([BackgroundTask("controller", self._run)]))
            await stop.wait()

    async def _run(self) -> None:
        """Lead for ever, or whenever this replica is elected."""
        if not self._config.leader_elect:
            await self._lead()
            return
        identity = f"{self._config.pod_name}_{os.urandom(4).hex()}"
        # Of its own: a renewal must not wait for a connection.
        api = Api(self._config.kubeconfig, self._metrics.api.requested)
        try:
            await Elected(api, self._config.lease_namespace, LEASE, identity).run(self._lead)
        finally:
            await api.close()

    async def _lead(self) -> None:
        """Everything that only the leader does, with a state of its own: what was known before may be old."""
        api, parser, workers = self._api, Parser(), DiskWorkers()
        sockets = ProviderSockets((self._config.provider_volume,))
        providers = ProviderPool(
            sockets,
            workers,
            MemoryBudget(-1),
            self._config.max_call_recv_msg_size,
            on_called=self._metrics.providers.called,
        )
        classes, events = ClassStore(api, WATCH_IDLE_SECONDS), SyncEvents(api)
        statuses = SecretSyncStore(api)
        tokens = TokenSource(api, self._config.token_request_audience)
        cluster = Cluster(classes, tokens, AppliedSecrets(api), statuses, events)
        reconciler = Reconciler(cluster, providers, parser, self._identity)
        watches_secrets = await may_watch(api)
        log.info("Changes of Secrets by others are found", way="by a watch" if watches_secrets else "by asking")
        controller = Controller(
            reconciler,
            providers,
            self._metrics,
            self._config.rotation_poll_interval,
            self._config.controller_name,
            watches_secrets=watches_secrets,
        )
        statuses.tell(controller)
        tasks: tuple[BackgroundTask, ...] = (
            BackgroundTask("SecretSync watch", statuses.run),
            BackgroundTask("class watch", classes.run),
            BackgroundTask("syncs", controller.run),
            BackgroundTask("providers that are away", controller.away.run),
            BackgroundTask("events", events.run),
        )
        if watches_secrets:
            tasks += (BackgroundTask("Secret watch", WatchedSecrets(api, controller).run),)
        self._metrics.leads(True)
        try:
            async with self._tasks.running(tasks):
                await asyncio.Event().wait()
        finally:
            self._metrics.leads(False)
            providers.close()
            await parser.close()
            workers.close()

    def _health(self) -> dict[str, http.Handler]:
        return {"/healthz": self._healthy, "/readyz": self._healthy}

    async def _healthy(self, _: Any) -> Any:
        """Healthy unless a background task cannot be kept running; a replica that waits for the Lease is ready, too."""
        if broken := self._tasks.broken:
            return http.text_response(f"{broken}\n".encode(), status=500)
        return http.text_response(b"ok")

    async def _metrics_page(self, _: Any) -> Any:
        return http.text_response(metrics.render(self._metrics.registry), content_type=metrics.CONTENT_TYPE)
