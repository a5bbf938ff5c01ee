"""Records as production makes them: a shop's orders, as JSON bodies of 2 KB.

Always the same for the same seed. An order has identifiers, an address, coordinates, times and
a payment reference of its own; what is bought comes from a catalogue in which, as in any shop,
few products make up most of the sales. `prose` makes the worse kind: a third of the body is
free text that nobody wrote before. Each record has the headers of a browser behind a proxy,
with sealed credentials and trace identifiers, which hardly compress at all.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator

from mirrorproxy.clock import new_id
from mirrorproxy.codec import encode_line
from mirrorproxy.record import Credential, Exchange, Request, Response

BODY_BYTES = 2048
T0_US = 1_700_000_000_000_000

_SYLLABLES = (
    "an", "ber", "co", "da", "el", "fi", "gu", "ho", "in", "jo", "ka", "li", "mo", "na", "or",
    "pe", "qui", "ra", "se", "ti", "ul", "ve", "wo", "xi", "ya", "zen",
)  # fmt: skip
_CITIES = ("Hamburg", "Lyon", "Porto", "Turin", "Gdansk", "Malmo", "Leeds", "Ghent", "Graz")
_AGENTS = tuple(
    f"Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{major}.0.0.0"
    " Safari/537.36"
    for system in ("Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X 10_15_7", "X11; Linux")
    for major in range(118, 126)
)


class Shoppers:
    """Makes one record after the other.

    prose: fill bodies up with free text rather than with more items. seed: what decides all.
    """

    def __init__(
        self, *, prose: bool = False, seed: int = 1, sessions: int = 400, products: int = 500
    ) -> None:
        self._prose = prose
        self._random = random.Random(seed)
        self._words = [self._word() for _ in range(4000)]
        # As in any language: few words make up most of a text.
        self._weights = [1 / (rank + 3) for rank in range(len(self._words))]
        self._sessions = [self._session() for _ in range(sessions)]
        self._products = [self._product() for _ in range(products)]
        self._popularity = self._weights[:products]
        self._made = 0

    def lines(self, count: int) -> Iterator[bytes]:
        """Yield so many records as lines."""
        for _ in range(count):
            yield encode_line(self.exchange())

    def exchange(self) -> Exchange:
        """Return the next record."""
        chosen = self._random
        self._made += 1
        at_us = T0_US + self._made * 731 + chosen.randrange(700)
        session = chosen.choice(self._sessions)
        body = self.body()
        headers = [
            ("Host", "api.example.com"),
            ("User-Agent", session["agent"]),
            ("Accept", "application/json, text/plain, */*"),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Authorization", f"Bearer {{{session['token']}}}"),
            ("Cookie", f"sid={{{session['cookie']}}}; locale=de-DE"),
            ("X-Forwarded-For", session["client"]),
            ("X-Request-Id", self._uuid()),
            ("Traceparent", f"00-{chosen.randbytes(16).hex()}-{chosen.randbytes(8).hex()}-01"),
        ]
        return Exchange(
            v=1, id=new_id(at_us), service="orders", via="inline", node="mirror-1/0",
            started_us=at_us, duration_us=chosen.randrange(900, 90_000),
            client=session["client"], scheme="https", upstream="http://10.0.3.7:8080",
            request=Request("POST", "/v1/orders", "1.1", headers, body, "utf8", len(body)),
            response=Response(201, [("Content-Type", "application/json"),
                                    ("Date", "Tue, 14 Nov 2023 22:13:20 GMT")]),
            credentials=[
                Credential("header", "Authorization", session["token"], "Bearer",
                           session["subject"], {"iss": "https://login.example.com"}),
                Credential("cookie", "sid", session["cookie"]),
            ],
        )  # fmt: skip

    def body(self) -> str:
        """Return a body of about `BODY_BYTES`: an order with its items, customer and a note."""
        chosen = self._random
        order = {
            "orderId": self._uuid(),
            "createdAt": f"2023-11-14T22:{chosen.randrange(60):02}:{chosen.randrange(60):02}.000Z",
            "channel": chosen.choice(("web", "ios", "android")),
            "customer": {
                "id": chosen.randrange(10**7),
                "name": f"{self._text(1).title()} {self._text(1).title()}",
                "email": f"{self._text(1)}.{chosen.randrange(1000)}@example.com",
                "address": {
                    "street": f"{self._text(2).title()} {chosen.randrange(200)}",
                    "postalCode": f"{chosen.randrange(100_000):05}",
                    "city": chosen.choice(_CITIES),
                    "geo": [round(chosen.uniform(36, 60), 6), round(chosen.uniform(-9, 24), 6)],
                },
            },
            "items": [],
            "payment": {"method": "card", "reference": chosen.randbytes(12).hex()},
            "note": self._text(6) if chosen.random() < 0.2 else None,
        }
        items: list[object] = []
        order["items"] = items
        most = 5 if self._prose else 100
        size = len(json.dumps(order))
        while size < BODY_BYTES - 100 and len(items) < most:
            [product] = chosen.choices(self._products, self._popularity)
            items.append({**product, "quantity": chosen.randrange(1, 5)})
            size = len(json.dumps(order))
        prose = ""
        while size + len(prose) < BODY_BYTES - 20:
            prose += self._text(chosen.randrange(5, 12)).capitalize() + ". "
        if self._prose:
            order["note"] = prose
        return json.dumps(order)

    def _product(self) -> dict[str, object]:
        chosen = self._random
        return {
            "sku": f"{chosen.choice('ABCDEFG')}-{chosen.randrange(10**6):06}",
            "title": self._text(chosen.randrange(2, 5)).title(),
            "unitPrice": {"amount": f"{chosen.uniform(1, 400):.2f}", "currency": "EUR"},
            "warehouse": chosen.choice(("HAM-1", "LYS-2", "OPO-1")),
        }

    def _session(self) -> dict[str, str]:
        def mark() -> str:
            return f"h1:3f9a:{self._random.randbytes(16).hex()}"

        client = f"203.0.{self._random.randrange(256)}.{self._random.randrange(256)}"
        return {
            "client": client, "token": mark(), "cookie": mark(), "subject": mark(),
            "agent": self._random.choice(_AGENTS),
        }  # fmt: skip

    def _word(self) -> str:
        return "".join(self._random.choices(_SYLLABLES, k=self._random.randrange(1, 5)))

    def _text(self, words: int) -> str:
        return " ".join(self._random.choices(self._words, self._weights, k=words))

    def _uuid(self) -> str:
        return str(uuid.UUID(bytes=self._random.randbytes(16), version=4))
