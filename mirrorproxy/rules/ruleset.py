"""A rule file, compiled: which rule takes an exchange, and what that means.

Pure. Everything that can be wrong with a file is found while it is compiled;
`decide` never fails. `load` reads files, `plan` makes shots.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from msgspec import UNSET

from mirrorproxy.http1.origin import Origin, parse_origin
from mirrorproxy.record import Exchange
from mirrorproxy.rules.auth import Auth, compile_auth
from mirrorproxy.rules.comparing import EVERYTHING, Comparing, compile_compare
from mirrorproxy.rules.declared import NOT_DECLARED, Declared, compile_declared
from mirrorproxy.rules.facts import Facts
from mirrorproxy.rules.index import Index
from mirrorproxy.rules.late import Source
from mirrorproxy.rules.limits import (
    BackoffLimits,
    TargetLimits,
    compile_backoff,
    compile_limits,
)
from mirrorproxy.rules.match import Matcher, compile_match
from mirrorproxy.rules.offers import ReadTable
from mirrorproxy.rules.patterns import Fault, KeyPath
from mirrorproxy.rules.rewrite import KEEP, Rewriter, compile_rewrite
from mirrorproxy.rules.schema import (
    AuthEntry,
    Defaults,
    Limits,
    Rule,
    RuleFile,
    Send,
    Session,
    Target,
)
from mirrorproxy.rules.schema_auth import Use
from mirrorproxy.rules.session import (
    SessionKey,
    SessionOrder,
    compile_order,
    compile_session,
    follows_tokens,
)

MAX_PERCENT = 10_000
_MAX_INDEX = 1024
_BASE_PATH = re.compile(r"(?:/[!$-.0->@-~]+)*")


class CompiledTarget(NamedTuple):
    """A target ready to use.

    authority: what Host says. base_path: "" or from a slash on, without one at the end.
    ramp_s: over what time it is sent ever more, from the start; 0 for all at once.
    """

    name: str
    origin: Origin
    authority: str
    base_path: str
    keeps_host: bool
    user_agent: str
    allow_production: bool
    limits: TargetLimits
    auth: Auth
    backoff: BackoffLimits | None = None
    ramp_s: float = 0.0
    safe_methods_only: bool = False


class Decision(NamedTuple):
    """What is to happen to an exchange.

    rule: the name of the rule that took it, None if none did. targets: where
    to; empty to skip it. percent: 100 sends once to each target. without_body: a
    request whose body an access log did not keep is sent without it. rate: shots a
    second at most, None for no limit. comparing: what the answers are compared by. declared:
    what is learned and used.
    """

    rule: str | None
    targets: tuple[CompiledTarget, ...] = ()
    percent: float = 100.0
    by_session: bool = False
    rewriter: Rewriter = KEEP
    without_body: bool = False
    rate: float | None = None
    comparing: Comparing = EVERYTHING
    declared: Declared = NOT_DECLARED


class RuleSet:
    """Compiled rules and targets.

    order: what of a session waits for what.
    sends_logged_credentials: whether credentials that an access log holds in the
    clear may be sent as they are. follows_tokens: whether one user's tokens are one session,
    see `lineage`.
    """

    def __init__(
        self,
        targets: dict[str, CompiledTarget],
        rules: Sequence[tuple[Matcher, Decision]],
        unmatched: Decision,
        session_key: SessionKey,
        *,
        sends_logged_credentials: bool = False,
        order: SessionOrder = SessionOrder(),  # noqa: B008 - frozen
        follows_tokens: bool = False,
    ) -> None:
        self.targets = targets
        self.order = order
        self.follows_tokens = follows_tokens
        self.session_key = session_key
        self.sends_logged_credentials = sends_logged_credentials
        self._rules = tuple(rules)
        self._unmatched = unmatched
        self._index: dict[tuple[str, str], Index] = {}

    @property
    def sources(self) -> list[Source]:
        """What fetches the credentials that are only known when a shot is sent."""
        return [source for target in self.targets.values() for source in target.auth.sources]

    @property
    def names(self) -> list[str]:
        """The names of the rules, in order."""
        return [decision.rule for _, decision in self._rules if decision.rule is not None]

    @property
    def correlated(self) -> dict[str | None, Declared]:
        """What each rule says of correlation, by name; None: where there is no rule."""
        decisions = (self._unmatched, *self.decisions)
        return {one.rule: one.declared for one in decisions if one.targets}

    @property
    def decisions(self) -> list[Decision]:
        """What each rule says, in order."""
        return [decision for _, decision in self._rules]

    @property
    def comparing(self) -> dict[str | None, Comparing]:
        """What answers are compared by: the name of a rule, None for no rule -> what it says."""
        decisions = [*self.decisions, self._unmatched]
        return {decision.rule: decision.comparing for decision in decisions}

    def origins(self, target: CompiledTarget) -> list[Origin]:
        """Return everywhere that shots for a target may be sent: rules may change the scheme."""
        found = [target.origin]
        for _, decision in self._rules:
            origin = decision.rewriter.origin(target.origin)
            if origin not in found and target.name in {one.name for one in decision.targets}:
                found.append(origin)
        return found

    def guarded(self, *, allow_production: bool = False) -> dict[str, Origin]:
        """Return where each target is that may not be production, by a name for it."""
        return {
            name if origin == target.origin else f"{name} ({origin.scheme})": origin
            for name, target in self.targets.items()
            for origin in self.origins(target)
            if not (target.allow_production or allow_production)
        }

    def logins(self, *, allow_production: bool = False) -> dict[str, Origin]:
        """Return who gives out credentials for such targets, by the entry of the rule file."""
        return {
            source.name: parse_origin(source.server)[0]
            for target in self.targets.values()
            for source in target.auth.sources
            if source.server is not None and not (target.allow_production or allow_production)
        }

    def decide(self, exchange: Exchange, facts: Facts | None = None) -> Decision:
        """Return what the first rule that takes the exchange says, or what holds without one.

        facts: of this exchange, if the caller has them already.
        """
        facts = facts or Facts(exchange)
        path = facts.path
        for prefixes, test, number in self._index_for(exchange).candidates(path):
            # Matcher.fits, written out: this loop is most of what rules cost.
            if path.startswith(prefixes) and (test is None or test(facts)):
                return self._rules[number][1]
        return self._unmatched

    def _index_for(self, exchange: Exchange) -> Index:
        key = (exchange.service, exchange.request.method)
        found = self._index.get(key)
        if found is None:
            found = Index(
                [
                    (matcher.prefixes, matcher.test, number)
                    for number, (matcher, _) in enumerate(self._rules)
                    if matcher.concerns(exchange)
                ]
            )
            # Methods come from the network: made-up ones must not fill the memory.
            if len(self._index) < _MAX_INDEX:
                self._index[key] = found
        return found

    @classmethod
    def simple(
        cls,
        url: str,
        *,
        bearer: str | None = None,
        allow_production: bool = False,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        name: str = "target",
    ) -> RuleSet:
        """Return rules that send everything to one target.

        bearer: takes the place of the credential of every request that had
        one. Raises Fault, whose path begins with ``targets``, if url or bearer
        cannot be used.
        """
        auth = [] if bearer is None else [AuthEntry(use=Use(bearer=bearer))]
        target = Target(url=url, auth=auth, limits=limits, allow_production=allow_production)
        return compile_rules(
            RuleFile(version=1, targets={name: target}, defaults=Defaults(unmatched="send"))
        )


def _no_tables(name: str, at: KeyPath) -> dict[str, str]:
    raise Fault("a table file cannot be read here", at)


def compile_rules(file: RuleFile, read_table: ReadTable = _no_tables) -> RuleSet:
    """Return the rules of a file ready to use. Raises Fault for what is wrong with it."""
    targets = {
        name: _compile_target(name, target, ("targets", name), read_table)
        for name, target in file.targets.items()
    }
    comparing = compile_compare(file.defaults.compare, EVERYTHING, ("defaults", "compare"))
    rules: list[tuple[Matcher, Decision]] = []
    seen: set[str] = set()
    for index, rule in enumerate(file.rules):
        at: KeyPath = ("rules", index)
        if rule.name in seen:
            raise Fault("another rule has this name", (*at, "name"))
        seen.add(rule.name)
        decision = _decision(rule, targets, at, file)
        compares = compile_compare(rule.compare, comparing, (*at, "compare"))
        rules.append(
            (
                compile_match(rule.match, (*at, "match")),
                decision._replace(comparing=compares) if decision.targets else decision,
            )
        )
    unmatched = Decision(None)
    if file.defaults.unmatched == "send":
        where = ("defaults", "unmatched")
        declared = NOT_DECLARED._replace(is_on=file.defaults.correlate)
        unmatched = Decision(
            None, _targets_of(Send(), targets, where), comparing=comparing, declared=declared
        )
    session: Session = file.defaults.session
    return RuleSet(
        targets,
        rules,
        unmatched,
        compile_session(session.by, ("defaults", "session", "by")),
        sends_logged_credentials=file.defaults.logged_credentials == "send",
        order=compile_order(
            session,
            fans_out=any(len(decision.targets) > 1 for _, decision in rules),
        ),
        follows_tokens=follows_tokens(session.by),
    )


def _decision(
    rule: Rule, targets: dict[str, CompiledTarget], at: KeyPath, file: RuleFile
) -> Decision:
    if not rule.name:
        raise Fault("is empty", (*at, "name"))
    if rule.skip == (rule.send is not UNSET):
        raise Fault("expected either skip: true or send", at)
    if rule.skip:
        if rule.rewrite is not UNSET:
            raise Fault("nothing is sent, so nothing is rewritten", (*at, "rewrite"))
        if rule.compare is not UNSET:
            raise Fault("nothing is sent, so nothing is compared", (*at, "compare"))
        for key, given in (("learn", rule.learn), ("use", rule.use)):
            if given:
                raise Fault("nothing is sent, so nothing is learned or used", (*at, key))
        return Decision(rule.name)
    assert rule.send is not UNSET  # noqa: S101 - one of the two is given
    if not 0 <= rule.send.percent <= MAX_PERCENT:
        raise Fault(f"expected a number from 0 to {MAX_PERCENT}", (*at, "send", "percent"))
    if rule.send.rate is not UNSET and not 0 < rule.send.rate <= 1e7:
        raise Fault("expected a number of requests a second above 0", (*at, "send", "rate"))
    return Decision(
        rule.name,
        _targets_of(rule.send, targets, (*at, "send")),
        rule.send.percent,
        rule.send.percent_by == "session",
        compile_rewrite(rule.rewrite, (*at, "rewrite")),
        rule.send.without_body,
        None if rule.send.rate is UNSET else rule.send.rate,
        declared=compile_declared(
            rule.learn if isinstance(rule.learn, list) else [rule.learn],
            rule.use if isinstance(rule.use, list) else [rule.use],
            is_on=file.defaults.correlate if rule.correlate is UNSET else rule.correlate,
            at=at,
        ),
    )


def _targets_of(
    send: Send, targets: dict[str, CompiledTarget], at: KeyPath
) -> tuple[CompiledTarget, ...]:
    if send.target is UNSET:
        if len(targets) != 1:
            raise Fault("say which target: the file does not have exactly one", at)
        return tuple(targets.values())
    names = [send.target] if isinstance(send.target, str) else send.target
    if not names or len(set(names)) != len(names):
        raise Fault("expected one or several targets, each once", (*at, "target"))
    for name in names:
        if name not in targets:
            known = ", ".join(targets) or "none"
            raise Fault(f"there is no such target; known here: {known}", (*at, "target"))
    return tuple(targets[name] for name in names)


def _compile_target(
    name: str, target: Target, at: KeyPath, read_table: ReadTable
) -> CompiledTarget:
    try:
        origin, base_path = parse_origin(target.url)
    except ValueError as error:
        raise Fault(str(error), (*at, "url")) from error
    if not _BASE_PATH.fullmatch(base_path):
        raise Fault("the path of the URL holds a character that a path can't", (*at, "url"))
    return CompiledTarget(
        name,
        origin,
        origin.authority,
        base_path,
        target.host == "original",
        target.user_agent,
        target.allow_production,
        compile_limits(target.limits, (*at, "limits")),
        compile_auth(target.auth, (*at, "auth"), read_table),
        None if target.backoff is UNSET else compile_backoff(target.backoff, (*at, "backoff")),
        0.0 if target.ramp is UNSET else float(target.ramp),
        target.safe_methods_only,
    )
