"""The managers that users call: what all engines share, and one folder per engine."""
