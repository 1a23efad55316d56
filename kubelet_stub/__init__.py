"""Stands in for kubelet: registers CSI drivers, publishes the inline volumes of pods, and keeps kubelet's rules."""
