"""Answers HTTP about the health of the three processes."""
