"""Ours beside the direct, the in-process and the upstream way: `./run bench`. A report, not a test."""
