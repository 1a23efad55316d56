"""Volumes on the node: target paths, the tmpfs mounted there, and the files in it.

Everything here blocks; callers on the event loop go through ``workers``.
"""
