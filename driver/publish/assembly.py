"""Puts the publish path together."""

from collections.abc import Sequence
from typing import NamedTuple

from driver.config import DriverConfig
from driver.metrics import DriverMetrics
from driver.ports import Backend
from driver.providers.pool import ProviderPool
from driver.publish.fetching.fetcher import Fetcher
from driver.publish.fetching.forgetting import Forgetting
from driver.publish.fetching.held import HeldReplies
from driver.publish.fetching.replies import Replies
from driver.publish.fetching.stale import StaleVolumes
from driver.publish.pending import PendingVolumes
from driver.publish.publisher import Publisher
from driver.publish.refresher import Refresher
from driver.publish.remote_steps import RemoteSteps
from driver.publish.renewals import Renewals
from driver.publish.reporting import Reporter
from driver.publish.restarts import Restarts
from driver.publish.stale_refresher import StaleRefresher
from driver.publish.stopping import Stopping
from driver.publish.target_steps import TargetSteps
from driver.publish.unpublisher import Unpublisher
from driver.registry import VolumeRegistry
from driver.volume.memory import MemoryBudget
from driver.volume.workers import DiskWorkers
from runtime.tasks import BackgroundTask


class PublishPath(NamedTuple):
    """What the rest of a driver uses of it."""

    publisher: Publisher
    unpublisher: Unpublisher
    pending: PendingVolumes
    restarts: Restarts
    renewals: Renewals
    forgetting: Forgetting
    held: HeldReplies
    replies: Replies

    def tasks(self) -> Sequence[BackgroundTask]:
        """What runs beside the calls."""
        return (
            BackgroundTask("restarts of workloads", self.restarts.run),
            BackgroundTask("renewal of old content", self.renewals.run),
            BackgroundTask("forgetting of held content", self.forgetting.run),
        )


def assemble(
    config: DriverConfig,
    volumes: VolumeRegistry,
    backend: Backend,
    providers: ProviderPool,
    disk: DiskWorkers,
    memory: MemoryBudget,
    metrics: DriverMetrics,
    noswap: bool,
    stopping: Stopping,
) -> PublishPath:
    """The publish path of one driver."""
    cluster, sync = backend.cluster, backend.sync
    held, stale = HeldReplies(memory), StaleVolumes()
    replies = Replies(held, stale, metrics.fetches)
    metrics.fetches.measure_held(lambda: len(held), lambda: held.size)
    reporter = Reporter(cluster, metrics, stopping)
    target = TargetSteps(config, disk, memory, noswap)
    remote = RemoteSteps(config, cluster, sync, reporter, stopping)
    fetcher = Fetcher(config, providers, replies, reporter, stopping)
    pending = PendingVolumes(volumes)
    restarts = Restarts(cluster, backend.workloads)
    refresher = Refresher(volumes, target, fetcher, stale, remote, reporter, restarts)
    stale_refresher = StaleRefresher(volumes, stale, target, remote, refresher, reporter, metrics)
    publisher = Publisher(
        config, volumes, cluster, target, remote, fetcher, refresher, stale, restarts, metrics, pending
    )
    return PublishPath(
        publisher,
        Unpublisher(config, volumes, disk, cluster, sync, metrics, pending),
        pending,
        restarts,
        Renewals(volumes, stale, fetcher, remote, stale_refresher),
        Forgetting(volumes, cluster, held),
        held,
        replies,
    )
