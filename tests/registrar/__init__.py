"""The registrar over real sockets, with the kubelet stub."""
