"""``make bench-cluster``: what the drivers of many nodes cost one API server; and the Go trio's calls likewise."""
