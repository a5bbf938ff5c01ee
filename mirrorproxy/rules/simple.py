"""Rules without a rule file: everything goes to one target that was named by options.

Reads nothing, and loads no YAML, which takes a sixth of the start of a replay.
"""

from __future__ import annotations

from mirrorproxy.errors import ConfigError
from mirrorproxy.rules.patterns import Fault
from mirrorproxy.rules.ruleset import RuleSet
from mirrorproxy.rules.schema import Limits


def simple_rules(
    target_url: str,
    *,
    bearer: str | None = None,
    allow_production: bool = False,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> RuleSet:
    """Return rules that send everything to one target; errors name the options."""
    try:
        return RuleSet.simple(
            target_url, bearer=bearer, allow_production=allow_production, limits=limits
        )
    except Fault as fault:
        option = {"url": "--target", "bearer": "--auth-env"}.get(str(fault.at[-1]))
        raise ConfigError(fault.message, file=option or ".".join(map(str, fault.at))) from fault
