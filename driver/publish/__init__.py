"""NodePublishVolume and NodeUnpublishVolume."""
