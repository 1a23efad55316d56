"""``secrets-store validate``: checks files without a cluster. ``command`` is the command line, ``files`` reads them and
puts all checks together; ``classes`` and ``parameters`` check SecretProviderClasses, ``users`` pods and SecretSyncs."""
