"""The supervisor, as a process with toy roles."""
