"""What NodePublishVolume and NodeUnpublishVolume do."""
