"""Checks whether a provider, written in any language, keeps the contract of ``protos/provider.proto`` as drivers
rely on it. ``docs/provider-conformance.md`` lists the checks; ``provider_conformance.main`` is the command."""
