"""The kubelet stub against a toy driver over real Unix sockets."""
