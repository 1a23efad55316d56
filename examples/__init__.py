"""Providers to copy and to change."""
