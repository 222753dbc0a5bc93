"""Measures lexivec on a machine with an NVIDIA GPU."""
