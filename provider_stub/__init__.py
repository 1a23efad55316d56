"""A small but real provider, built on ``provider_kit`` as any other provider would be."""
