"""Text from captured traffic, made safe for a terminal. Pure.

A captured target or header is a stranger's text: an escape sequence in it
would act on the terminal of whoever looks at the capture.
"""

from __future__ import annotations


def printable(text: str) -> str:
    """Return text with everything that is not printable as ``\\xNN`` or ``\\uNNNN``."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def printable_lines(text: str) -> str:
    """The same, but line ends and tabs stay."""
    return "\n".join(
        "\t".join(printable(cell) for cell in line.split("\t"))
        for line in text.replace("\r\n", "\n").split("\n")
    )


def _escape(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
