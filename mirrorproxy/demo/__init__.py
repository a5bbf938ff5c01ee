"""The demo: two small applications, a capture before one, a replay into the other."""
