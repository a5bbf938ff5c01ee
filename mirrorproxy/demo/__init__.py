"""The demo: two small applications, a capture before one, a replay into the other."""

from mirrorproxy.errors import MirrorproxyError


class DemoFailed(MirrorproxyError):
    """A step of the demo did not do what it should have; the text says which and why."""
