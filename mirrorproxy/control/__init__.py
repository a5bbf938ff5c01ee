"""Control: health, metrics and status, for whoever watches a capture."""
