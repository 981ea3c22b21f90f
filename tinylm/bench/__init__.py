"""Measuring kernels: realistic calls, what a right result is, counterparts in PyTorch, and the roofs of the machine."""
