"""A small real provider, and the kit to write one in Python."""
