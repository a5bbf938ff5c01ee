"""Clients, proxy and upstream in any interleaving: nothing is mixed up, lost or kept too long."""

from __future__ import annotations

from dialogue import Ask, plans
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from joined import PIECE_BYTES, Client, World

sizes = st.sampled_from([1, 7, 100, PIECE_BYTES, PIECE_BYTES])
which = st.integers(0, 3)
KINDS = ["", "", "connects", "client sends", "client reads", "upstream sends", "upstream reads"]
"""What does not happen while the rest goes on."""


class ProxyMachine(RuleBasedStateMachine):
    """Whatever the order of events, each side sees what the other said, or a cut."""

    world: World | None = None
    is_calm = True

    @initialize(plan=plans(), is_calm=st.booleans(), instances=st.sampled_from([0, 0, 1, 3]))
    def begin(self, plan: list[list[Ask]], is_calm: bool, instances: int) -> None:
        self.world = World(plan, instances)
        self.is_calm = is_calm

    def teardown(self) -> None:
        if self.world is None:
            return
        try:
            _run_to_the_end(self.world)
        finally:
            self.world.close()

    # -- what goes well -------------------------------------------------------

    @rule(size=sizes, without=st.sampled_from(KINDS), rounds=st.sampled_from([1, 4, 30]))
    def all_flows(self, size: int, without: str, rounds: int) -> None:
        for _ in range(rounds):
            self._world.flow(size, without)
            self._world.check_memory()

    @rule()
    def the_loop_turns(self) -> None:
        self._world.loop.turn()

    @rule(index=which, size=sizes)
    def a_client_sends(self, index: int, size: int) -> None:
        self._client(index).send(size)

    @rule(index=which, size=sizes)
    def a_client_reads(self, index: int, size: int) -> None:
        self._client(index).read(size)

    @rule(index=which)
    def a_connection_is_made(self, index: int) -> None:
        self._world.connect(index, succeeds=True)

    @precondition(lambda self: self.world and self.world.upstreams)
    @rule(index=which, size=sizes)
    def an_upstream_sends(self, index: int, size: int) -> None:
        upstreams = self._world.upstreams
        upstreams[-1 - index % len(upstreams)].send(size)

    @precondition(lambda self: self.world and self.world.upstreams)
    @rule(index=which, size=sizes)
    def an_upstream_reads(self, index: int, size: int) -> None:
        upstreams = self._world.upstreams
        upstreams[-1 - index % len(upstreams)].read(size)

    @rule(seconds=st.sampled_from([0.3, 1.2]))
    def a_moment_passes(self, seconds: float) -> None:
        self._world.loop.wait(seconds)

    # -- what does not --------------------------------------------------------

    @precondition(lambda self: not self.is_calm)
    @rule(seconds=st.sampled_from([5.0, 31.0, 61.0, 121.0]))
    def a_long_time_passes(self, seconds: float) -> None:
        self._world.trouble = True
        self._world.loop.wait(seconds)

    @precondition(lambda self: not self.is_calm)
    @rule(index=which)
    def a_client_says_it_sends_no_more(self, index: int) -> None:
        client = self._client(index)
        if client.wire.is_readable:
            # In mid-request, or ahead of its turn, that is an abort.
            client.has_left = True
            self._world.trouble = True
            client.outgoing.clear()
            client.wire.deliver_eof()

    @precondition(lambda self: not self.is_calm)
    @rule(index=which)
    def a_client_breaks_off(self, index: int) -> None:
        client = self._client(index)
        client.has_left = True
        client.wire.reset()

    @precondition(lambda self: not self.is_calm and self.world and self.world.upstreams)
    @rule(index=which, breaks=st.booleans())
    def an_upstream_ends(self, index: int, breaks: bool) -> None:
        self._world.trouble = True
        upstreams = self._world.upstreams
        upstream = upstreams[-1 - index % len(upstreams)]
        if breaks:
            upstream.is_dirty = True
            upstream.wire.reset()
        else:
            upstream.end()

    @precondition(lambda self: not self.is_calm)
    @rule(index=which)
    def a_connection_is_refused(self, index: int) -> None:
        self._world.connect(index, succeeds=False)

    @precondition(lambda self: not self.is_calm)
    @rule(breaks=st.booleans())
    def a_connection_is_made_and_ended_at_once(self, breaks: bool) -> None:
        if self._world.connect(0, succeeds=True):
            self._world.trouble = True
            upstream = self._world.upstreams[-1]
            if breaks:
                upstream.is_dirty = True
                upstream.wire.reset()
            else:
                upstream.end()
                upstream.send(1)

    @precondition(lambda self: not self.is_calm)
    @rule(often=st.integers(0, 5))
    def the_proxy_is_told_to_drain(self, often: int) -> None:
        if often == 0:
            self._world.trouble = True
            self._world.proxy.drain()

    # -- what holds at any time -----------------------------------------------

    @invariant()
    def what_waits_is_bounded(self) -> None:
        if self.world is not None:
            self.world.check_memory()

    @property
    def _world(self) -> World:
        assert self.world is not None
        return self.world

    def _client(self, index: int) -> Client:
        return self._world.clients[index % len(self._world.clients)]


def _run_to_the_end(world: World) -> None:
    """Let all finish, then demand that nothing is open and all is as it must be."""
    for _ in range(2000):
        if not world.flow(PIECE_BYTES):
            break
    else:
        raise AssertionError("no end of it")
    for client in world.clients:
        _check_end(world, client)
        if client.wire.is_readable:
            client.wire.deliver_eof()
    for seconds in (3.0, 70.0, 130.0):
        world.loop.wait(seconds)
        while world.flow(PIECE_BYTES):
            pass
    assert world.proxy.active == 0
    assert world.proxy.open_connections == 0
    assert world.pool.open_connections == 0
    for balance in world.table.balances.values():
        assert [member.outstanding for member in balance.members if member.outstanding] == []
    assert all(tap.end for tap in world.taps), "a tap without an end"
    for tap in world.taps:
        ask = world.asks[tap.number]
        assert bytes(tap.body) == ask.body[: len(tap.body)]
        if tap.end == "finished":
            assert len(tap.body) == len(ask.body) or ask.framing == "none"
            assert tap.response is not None
            assert tap.response.status == ask.answer.status
            bodiless = ask.to_head or ask.answer.is_bodiless
            assert tap.response_body == (b"" if bodiless else ask.answer.body)


def _check_end(world: World, client: Client) -> None:
    reading, wire = client.reading, client.wire
    if reading.is_partial:
        assert wire.shows_end or wire.ended, "an answer that neither ends nor is cut"
    ended = {tap.number: tap.end for tap in world.taps}
    for ask in reading.planned:
        if not ask.answer.is_early:
            assert ended[ask.number] == "finished", "what a client saw the end of is missing"
    if client.has_left or wire.ended == "reset":
        return
    in_doubt = world.trouble or any(ask.answer.leaves for ask in world.asks.values())
    if in_doubt:
        assert wire.ended or wire.eof_written or reading.answered == len(client.asks)
        return
    assert reading.own_errors == 0
    ending = [n for n, ask in enumerate(client.asks) if ask.ends_connection]
    early = [n for n, ask in enumerate(client.asks) if ask.answer.is_early]
    wanted = min([len(client.asks), *(n + 1 for n in ending)])
    if early and early[0] < wanted:
        assert early[0] < reading.answered <= wanted
    else:
        assert reading.answered == wanted


ProxyMachine.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=15,
    report_multiple_bugs=False,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
)
TestProxyMachine = ProxyMachine.TestCase
