"""Tests of ``driver.secretsync`` that need no API server; those that do are in ``tests/cluster/secret_sync``."""
