"""``make bench-cluster``: what the drivers of many nodes cost one API server, and what the Go trio's calls would cost."""
