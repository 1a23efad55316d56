"""Volumes on disk: where a target lies, its tmpfs, and the files in it. Blocking system calls only; callers bring the threads."""
