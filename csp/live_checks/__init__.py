"""Checks on a live cluster: the questions, the commands that answer them, and a report to paste into an issue."""
