"""What a shop holds: things with ids that it makes itself, log-ins, and a log of what it was asked.

Pure: no clock, no socket. Every thing remembers which request made it (`born`), so that two
shops whose ids differ can be compared: see `shop_compare`.
"""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

TOKEN_S = 10.0
"""How long an access token holds."""


class Refused(Exception):
    """The shop says no. status: the answer's; reason: for the log."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Ref(msgspec.Struct, frozen=True):
    """A thing that another one names."""

    kind: str
    id: str


class Thing(msgspec.Struct, kw_only=True):
    """Whatever has an id. fields: its content; `Ref`s in it are to other things."""

    kind: str
    id: str
    born: str
    owner: str | None = None
    inside: Ref | None = None
    fields: dict[str, Any] = {}

    @property
    def ref(self) -> Ref:
        return Ref(self.kind, self.id)


class Logged(msgspec.Struct, kw_only=True):
    """One request as the shop took it.

    touched: what it was about, by `born`. values: what came in the fields that hold no ids.
    """

    step: str
    method: str
    path: str
    status: int = 0
    reason: str = ""
    touched: list[str] = []
    values: dict[str, str] = {}


class Ticket(NamedTuple):
    """Who an access token is for, and until when."""

    user: str
    until_s: float


class Shop:
    """The shop's memory. passwords: by user.

    first_id: where its numbers begin. salt: makes its random values its own.
    """

    def __init__(self, passwords: Mapping[str, str], *, first_id: int, salt: str) -> None:
        self.passwords = dict(passwords)
        self.log: list[Logged] = []
        self.things: dict[str, dict[str, Thing]] = {}
        self.asked = Logged(step="start", method="", path="")
        self._chance = random.Random(salt)
        self._next = Counter({"order": first_id + 1985, "revision": first_id + 100})
        self._first_id = first_id
        self._born: Counter[tuple[str, str]] = Counter()
        self._access: dict[str, Ticket] = {}
        self._refresh: dict[str, tuple[str, str]] = {}
        self._sessions: dict[str, str] = {}
        self._forms: dict[str, str] = {}
        self.cursors: dict[str, tuple[str, int]] = {}

    # Ids

    def number(self, kind: str) -> str:
        """Return the next number of a kind."""
        self._next.setdefault(kind, self._first_id)
        self._next[kind] += 1
        return str(self._next[kind] - 1)

    def uuid(self) -> str:
        return str(uuid.UUID(int=self._chance.getrandbits(128), version=4))

    def opaque(self, letters: int = 32) -> str:
        return f"{self._chance.getrandbits(letters * 4):0{letters}x}"

    def noise(self) -> int:
        return self._chance.randrange(1000, 9000)

    # Things

    def make(self, kind: str, id: str, *, owner: str | None = None, inside: Thing | None = None,
             born: str | None = None, **fields: Any) -> Thing:  # fmt: skip
        """Add a thing; it is named by the request that is just being answered."""
        if born is None:
            born = self.asked.step
            self._born[kind, born] += 1
            # Who sends one request twice makes two things: that has to show.
            born = f"{born}#{self._born[kind, born]}"
        made = Thing(kind=kind, id=id, born=f"{kind} {born}", owner=owner, fields=fields,
                     inside=inside.ref if inside else None)  # fmt: skip
        self.things.setdefault(kind, {})[id] = made
        self.asked.touched.append(made.born)
        return made

    def find(self, kind: str, id: str, owner: str | None = None) -> Thing:
        """Return a thing. Raises Refused: 404 if there is none, 403 if it is somebody else's."""
        found = self.things.get(kind, {}).get(id)
        if found is None:
            raise Refused(404, f"no {kind} {id}")
        if owner is not None and found.owner != owner:
            raise Refused(403, f"{kind} {id} is {found.owner}'s, not {owner}'s")
        self.asked.touched.append(found.born)
        return found

    def all(self, kind: str, owner: str | None = None, inside: Thing | None = None) -> list[Thing]:
        return [
            one
            for one in self.things.get(kind, {}).values()
            if (owner is None or one.owner == owner)
            and (inside is None or one.inside == inside.ref)
        ]

    def remove(self, thing: Thing) -> None:
        """Take out a thing and what is inside it."""
        for kind in list(self.things):
            for one in list(self.things[kind].values()):
                if one.inside == thing.ref:
                    self.remove(one)
        del self.things[thing.kind][thing.id]

    def value(self, name: str, value: object) -> None:
        """Log a value that is no id."""
        self.asked.values[name] = str(value)

    # Log-ins

    def log_in(self, user: str, password: str, now_s: float) -> dict[str, Any]:
        if self.passwords.get(user) != password:
            raise Refused(401, f"wrong password for {user}")
        return self._tokens(user, now_s)

    def refresh(self, token: str, now_s: float) -> dict[str, Any]:
        """Trade a refresh token, which is good for once; the old access token ends with it."""
        user, access = self._refresh.pop(token, ("", ""))
        if not user:
            raise Refused(401, "unknown refresh token")
        self._access.pop(access, None)
        return self._tokens(user, now_s)

    def _tokens(self, user: str, now_s: float) -> dict[str, Any]:
        access, refresh = self.opaque(), self.opaque(40)
        self._access[access] = Ticket(user, now_s + TOKEN_S)
        self._refresh[refresh] = (user, access)
        return {"access_token": access, "refresh_token": refresh, "expires_in": int(TOKEN_S)}

    def bearer(self, authorization: str, now_s: float) -> str:
        """Return who sent an Authorization header. Raises Refused, 401."""
        scheme, _, token = authorization.partition(" ")
        ticket = self._access.get(token)
        if scheme != "Bearer" or ticket is None:
            raise Refused(401, "unknown token")
        if ticket.until_s < now_s:
            raise Refused(401, "expired token")
        return ticket.user

    def open_session(self, user: str) -> str:
        """Return the value of a new session cookie."""
        sid = self.opaque(24)
        self._sessions[sid] = user
        return sid

    def session(self, cookies: str) -> tuple[str, str]:
        """Return a session's id and user. Raises Refused, 401."""
        found = dict(part.strip().partition("=")[::2] for part in cookies.split(";"))
        sid = found.get("sid", "")
        if sid not in self._sessions:
            raise Refused(401, "unknown session")
        return sid, self._sessions[sid]

    def form_token(self, user: str) -> str:
        """Return a token that the next form of this user has to bring, once."""
        token = self.opaque(20)
        self._forms[token] = user
        return token

    def take_form_token(self, token: str, user: str) -> None:
        if self._forms.pop(token, None) != user:
            raise Refused(403, "wrong CSRF token")
