"""Answers HTTP health checks for the container: the job of livenessprobe, readiness, and a status page."""
