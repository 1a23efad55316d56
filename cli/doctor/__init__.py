"""``secrets-store doctor``: looks for what keeps the driver from working. ``remote`` asks the API server, ``local``
looks at the node that it runs on, ``command`` writes a line for each check."""
