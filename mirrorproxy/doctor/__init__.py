"""The doctor: checks of what a capture or a replay needs, each a function over fetched values."""
