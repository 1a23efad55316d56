"""HTTP/2 for unary gRPC calls: frames, header blocks, and one connection of either side.

gRPC's own core is not used in the daemons: in each process it costs 15 MiB, threads that wake up some ten times a
second for ever, and on a new connection, which kubelet makes for each call, three times the CPU time
(docs/performance.md). A unary call needs little of HTTP/2: no priorities, no pushes, no trailers from a client.
"""
