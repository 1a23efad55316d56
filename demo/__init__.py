"""``make demo``: the main job, for real and without a cluster, told as it happens."""
