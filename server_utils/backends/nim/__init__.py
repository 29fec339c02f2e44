"""NVIDIA NIM, in a container beside each executor."""
