"""A provider of secrets in OpenBao, or in Vault, whose HTTP API is the same; built on ``provider_kit``."""
