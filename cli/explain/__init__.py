"""``secrets-store explain pod``: why a pod does not start, or why its content is old. ``evidence`` asks the API server,
``reasons`` finds the sentence, ``command`` writes it."""
