"""mirrorproxy: capture live HTTP traffic, bodies included, and replay it elsewhere."""

__version__ = "0.1.0"
