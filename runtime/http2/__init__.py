"""HTTP/2 for unary gRPC calls: one connection of either side, by the library h2, and the bounds that h2 does not have.

gRPC's own core is not used in the daemons: in each process it costs 15 MiB, threads that wake up some ten times a
second for ever, and more CPU time for a new connection, which kubelet makes for each call (docs/performance.md).
"""
