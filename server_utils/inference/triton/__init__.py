"""Triton's tensors over HTTP."""
