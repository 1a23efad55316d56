"""What each process is made of: flags, logs, signals, endpoints, sockets, metrics, status, version; and the
supervisor."""
