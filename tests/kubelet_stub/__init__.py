"""The kubelet stub against a fake driver over real Unix sockets."""
