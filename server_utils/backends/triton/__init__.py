"""Triton through PyTriton."""
