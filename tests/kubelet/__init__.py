"""A real node: kubelet, containerd, the chart and the image, and pods that read their secrets."""
