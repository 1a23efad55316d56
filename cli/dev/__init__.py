"""``secrets-store dev``: ``command`` is the command line and the loop, ``setup`` has the processes, ``volume`` prints
what is in the volume."""
