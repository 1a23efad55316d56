"""The objects of the secrets-store API group, read and written in one place."""
