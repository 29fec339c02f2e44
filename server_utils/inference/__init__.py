"""From rows to requests to answers."""
