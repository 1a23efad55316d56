"""Checks of the repository itself, run by ``make lint``; not part of the distribution."""
