"""Answers HTTP for the three: the livenessprobe's job, and what people and Prometheus ask."""
