"""Prepare and check a node: `python -m server_utils.node`."""
