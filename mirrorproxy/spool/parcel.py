"""From chunks of lines to packs: which lines go together, and which bodies first.

Pure apart from reading lines again. Decodes a line only if it names a body,
and of the first one when it came.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import re2  # type: ignore[import-untyped,unused-ignore]

from mirrorproxy.codec import MalformedRecord, UnsupportedVersion, decode_line
from mirrorproxy.packs import Pack
from mirrorproxy.spool.tail import Chunk, Span

_BODY_MARK = b'"body_ref":"'
# For many lines at once: RE2 looks for the underscore, which is rare, and so is twenty times as
# fast as a search for a quote.
_names_body = re2.compile(rb'_ref":"').search


class _Times(msgspec.Struct):
    started_us: int
    duration_us: int


_times_decoder = msgspec.json.Decoder(_Times)


@dataclass
class Parcel:
    """Spans that are put as one pack, again and again until they meet their fate.

    data: the lines of all spans, kept only until they were put once. bodies:
    references whose objects are still to be put, with their span.
    """

    number: int
    at_us: int
    spans: list[Span]
    data: bytes | None
    bodies: list[tuple[str, Span]] = field(default_factory=list)

    @property
    def open_spans(self) -> list[Span]:
        """The spans without a fate yet."""
        return [span for span in self.spans if span.fate is None]

    def pack(self) -> Pack:
        """Return what is to be put. Raises OSError if the lines can't be read again."""
        spans = self.open_spans
        data = self.data
        if data is None or len(spans) != len(self.spans):
            data = b"".join(span.read() for span in spans)
        return Pack(self.number, data, sum(span.count for span in spans), self.at_us)


def build_parcel(number: int, chunks: list[Chunk], now_us: int) -> tuple[Parcel, list[list[Span]]]:
    """Return a parcel of all chunks, and the spans of each chunk in order.

    now_us: stands in for the time of a line that tells none.
    """
    spans_of = [_spans(chunk) for chunk in chunks]
    spans = [span for part in spans_of for span in part]
    parcel = Parcel(
        number,
        min(_arrived_us(chunk.lines, now_us) for chunk in chunks),
        spans,
        b"".join(chunk.lines for chunk in chunks),
        [(ref, span) for span in spans for ref in span.bodies],
    )
    return parcel, spans_of


def _spans(chunk: Chunk) -> list[Span]:
    """Cover a chunk by spans; a line that names bodies has one of its own."""
    segment, start, lines, total = chunk
    if _names_body(lines) is None:
        return [Span(segment, start, start + len(lines), total)]
    spans: list[Span] = []
    begin, at, count = start, start, 0
    for text in lines[:-1].split(b"\n"):
        line = text + b"\n"
        bodies = _bodies_of(line)
        if bodies:
            if count:
                spans.append(Span(segment, begin, at, count))
            spans.append(Span(segment, at, at + len(line), 1, bodies))
            begin, count = at + len(line), 0
        else:
            count += 1
        at += len(line)
    if count:
        spans.append(Span(segment, begin, at, count))
    return spans


def _bodies_of(line: bytes) -> tuple[str, ...]:
    if _BODY_MARK not in line:
        return ()
    try:
        exchange = decode_line(line)
    except (MalformedRecord, UnsupportedVersion):
        return ()  # whoever reads the capture counts it; no body can be told from it
    messages = (exchange.request, exchange.response)
    return tuple(message.body_ref for message in messages if message and message.body_ref)


def _arrived_us(lines: bytes, now_us: int) -> int:
    try:
        first = _times_decoder.decode(lines[: lines.index(b"\n")])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return now_us
    return max(0, min(first.started_us + first.duration_us, now_us))
