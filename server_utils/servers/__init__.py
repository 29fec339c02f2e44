"""One server on one host: start, check, restart, stop. Knows no Spark."""
