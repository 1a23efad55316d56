"""What the tests of the publish path share."""

from driver.registry import Volume
from tests.support.rig import Rig
from tests.support.rig import Volume as RigVolume

FAILING = {"objects": "- objectName: password", "stubError": "INTERNAL"}


def known(rig_: Rig, volume: RigVolume) -> Volume:
    """What the driver knows of a volume."""
    found = rig_.driver.volumes.get(str(volume.target))
    assert found is not None
    return found


def make_due(rig_: Rig, volume: RigVolume) -> None:
    """Make a volume due for a refresh, and end its back-off."""
    found = known(rig_, volume)
    found.refreshed_at, found.retry_at = None, 0.0
