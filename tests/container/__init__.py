"""The container: one command line, three processes."""
