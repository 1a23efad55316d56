"""Copies the files of volumes into Kubernetes Secrets: when, what a class asks for, and what a Secret becomes.

The API calls are in ``driver.cluster``.
"""
