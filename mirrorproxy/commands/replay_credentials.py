"""What fetches credentials for a replay: a rule file's sources with real connections.

Chooses the concrete classes. What speaks HTTP is loaded only when a rule file needs it.
"""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING

from mirrorproxy.replay.ahead import AHEAD_SHOTS
from mirrorproxy.replay.credentials import Credentials, Fetching
from mirrorproxy.replay.ledger import Ledger
from mirrorproxy.replay.schedule import MAX_SPEED
from mirrorproxy.rules.late import Source
from mirrorproxy.rules.named import named_function
from mirrorproxy.rules.schema_auth import Login, Minted

if TYPE_CHECKING:
    from aiohttp import ClientSession


@contextlib.asynccontextmanager
async def fetched_credentials(
    sources: Sequence[Source],
    ledger: Ledger,
    say: Callable[[str], None],
    *,
    speed: float,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Credentials | None]:
    """Give what fetches the credentials that the rules want; None if they want none.

    sources: of the rules. say: takes lines for people. speed: the replay's pace.
    """
    if not sources:
        yield None
        return
    # Takes longer to load than all the rest of a replay.
    from mirrorproxy.replay.token_http import open_session  # noqa: PLC0415

    async with open_session(tls) as session:
        credentials = Credentials(
            {source.name: _fetching(source, session) for source in sources},
            ledger.token_requests,
            say,
            clock_s=time.monotonic,
            # One user's shots that wait must leave room for others'. Without due times
            # nothing is late, and planning waits instead.
            max_waiting=None if speed == MAX_SPEED else AHEAD_SHOTS // 2,
        )
        try:
            yield credentials
        finally:
            await credentials.close()


def _fetching(source: Source, session: ClientSession) -> Fetching:
    from mirrorproxy.replay.grants import GrantFetch  # noqa: PLC0415 - see above
    from mirrorproxy.replay.logins import LoginFetch  # noqa: PLC0415
    from mirrorproxy.replay.made_tokens import CallFetch, MintFetch  # noqa: PLC0415

    spec = source.spec
    if isinstance(spec, str):
        return Fetching(CallFetch(named_function(spec)))
    if isinstance(spec, Minted):
        return Fetching(MintFetch(source, spec))
    if isinstance(spec, Login):
        return Fetching(LoginFetch(source, spec, session))
    return Fetching(GrantFetch(source, spec, session), float(spec.refresh_before))
