"""What the status page is in a real browser; ``make test-browser``."""
