"""Differences between Spark versions, and tasks on executors. Knows no servers."""
