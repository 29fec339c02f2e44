"""One server on one host: its supervisor, state and end. Knows no Spark."""
