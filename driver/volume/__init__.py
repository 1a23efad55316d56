"""Volumes on disk: where a target lies, its tmpfs, and the files in it. All of it blocks; callers bring threads."""
