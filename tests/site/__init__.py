"""The documentation: its site, and the commands in it. ``make docs`` runs these tests, ``make test`` does not."""
