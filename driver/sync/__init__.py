"""Mounted files as Kubernetes Secrets: what a class asks for, and the queue that sees to it.

The API calls are in ``driver.cluster``.
"""
