"""Correlation: what two answers to one request teach, and where later requests carry it. Pure."""
