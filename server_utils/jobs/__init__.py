"""Runs that resume, and their progress."""
