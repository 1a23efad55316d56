"""``make demo``: the life of a secret in a pod, shown step by step on this machine, without a cluster."""
