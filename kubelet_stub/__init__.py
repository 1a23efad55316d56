"""Plays kubelet for the demo and the tests."""
