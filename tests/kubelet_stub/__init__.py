"""The kubelet stub against a driver driver over real Unix sockets."""
