"""Generated input, and models of what should happen with it: little of it, always the same, in `make test`; much of it,
new each time, in `make test-fuzz` (``__main__``)."""
