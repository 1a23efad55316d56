"""Step 6 of a publish: where a volume's content comes from.

Mostly from a call to the provider. For classes whose annotations allow it, also from the call of another pod of the
same class and service account (``share-fetch``), or, while the provider or its store is away, from what this node
fetched last (``last-known-good``). docs/outages.md says what these must never do.
"""
