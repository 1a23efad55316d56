"""Reads the pod statuses of an earlier driver: claims, of which those count that their pods confirm."""

from collections.abc import Collection

from driver.cluster.api import Api
from driver.cluster.listing import pages
from driver.cluster.statuses.confirmed_pods import ConfirmedPods
from driver.limits import SHOWN_STATUSES, STATUS_PAGE
from driver.objects import API_PATH
from driver.objects.names import LONGEST_NAME
from driver.objects.pod_status import NODE_LABEL, PLURAL, Object, names_its_pod, parse_status, status_name
from driver.ports import VolumeRecord
from runtime import logs

log = logs.get(__name__)


class Claims:
    """The pod statuses with this node's label."""

    def __init__(self, api: Api, node: str, driver: str) -> None:
        self._api = api
        self._node = node
        self._pods = ConfirmedPods(api, driver)

    async def confirmed(self, targets: Collection[str]) -> list[tuple[VolumeRecord, Object]]:
        """Those that describe these target paths, one for each: one LIST by node label, in pages, and one GET for each
        pod that an object names. Those that their pod does not confirm are ignored, which is logged."""
        confirmed: dict[str, tuple[VolumeRecord, Object]] = {}
        ignored = list[str]()
        query = {"labelSelector": f"{NODE_LABEL}={self._node}"}
        async for page in pages(self._api, f"{API_PATH}/{PLURAL}", STATUS_PAGE, query=query):
            found = [(record, item) for item in page.items if (record := _claim(item, targets))]
            kept = await self._pods.select([record for record, _ in found])
            for record, item in found:
                if record not in kept:
                    ignored.append(f"{item['metadata']['namespace']}/{item['metadata']['name']}"[:LONGEST_NAME])
                elif record.target_path not in confirmed or item["metadata"]["name"] == status_name(record):
                    confirmed[record.target_path] = record, item
            del ignored[SHOWN_STATUSES:]
        if ignored:
            log.warning(
                "Ignoring pod statuses: their pods do not exist, or do not mount these classes as these volumes",
                examples=", ".join(ignored),
            )
        return list(confirmed.values())


def _claim(item: Object, targets: Collection[str]) -> VolumeRecord | None:
    """What an object says of one of the target paths; None if that cannot be true: its owner is not the pod there."""
    record = parse_status(item)
    return record if record is not None and record.target_path in targets and names_its_pod(record) else None
