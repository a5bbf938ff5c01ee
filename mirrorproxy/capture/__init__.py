"""Capture: the proxy before an application, what it records, and the processes it runs in."""
