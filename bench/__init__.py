"""``make bench``: measures the driver, the container and its roles, alone or side by side with others."""
