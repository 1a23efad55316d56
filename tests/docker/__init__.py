"""The image, as its archive."""
