"""The bench tools themselves."""
