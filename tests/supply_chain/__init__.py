"""docker/: locks, packages, SBOM and audit, without an image."""
