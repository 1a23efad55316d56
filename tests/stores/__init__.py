"""The providers against real stores; ``make test-stores`` installs them."""
