"""What every process shares: flags, logs, signals, sockets, gRPC and HTTP at the process boundary, metrics, status,
version; and the supervisor."""
