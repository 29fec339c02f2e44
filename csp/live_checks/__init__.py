"""What only a live cluster can tell: the questions, who asks them, and a report to paste into an issue."""
