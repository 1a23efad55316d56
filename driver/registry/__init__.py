"""The volumes of this node: a ``table`` by target path, with a lock for each path and what is known of its ``volume``.

Nothing here survives a restart: it is restored from the mount table and the record in each volume (``driver.restore``).
"""

from driver.registry.table import VolumeRegistry
from driver.registry.volume import Volume, WantedRestart

__all__ = ["Volume", "VolumeRegistry", "WantedRestart"]
