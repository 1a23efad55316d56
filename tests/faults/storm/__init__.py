"""The fault storm: pods come and go on a whole container while everything around them and in it breaks.

``make test-faults SEED=1``, or ``python -m tests.faults.storm --help``. The same seed gives the same faults at the same
moments again. README.md explains the parts.
"""
