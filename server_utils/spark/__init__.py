"""What differs between Sparks, and tasks on executors. Knows no servers."""
