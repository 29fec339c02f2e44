"""Sealed Python environments: locked, hashed, one per engine."""
