"""aws/mirrorproxy.yaml as tests read it: parsed, and with its functions worked out.

Knows the functions that the template uses, and no others. What only AWS can know stays a name
in angle brackets: ``<Stream>`` for a reference, ``<Stream.Arn>`` for an attribute.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

PATH = Path(__file__).resolve().parents[2] / "aws/mirrorproxy.yaml"

PSEUDO = {
    "AWS::AccountId": "111122223333",
    "AWS::Partition": "aws",
    "AWS::Region": "eu-central-1",
    "AWS::StackName": "mirror-stack",
}
LAMBDA = {"Replay": "lambda", "CodeBucket": "code"}
EVERYTHING = {
    **LAMBDA,
    "KmsKeyArn": "arn:aws:kms:eu-central-1:111122223333:key/0",
    "RulesParameter": "/mirrorproxy/rules",
    "SecretArns": ["arn:aws:secretsmanager:eu-central-1:111122223333:secret:staging"],
    "ParameterArns": ["arn:aws:ssm:eu-central-1:111122223333:parameter/staging"],
    "SealKeySecretArn": "arn:aws:secretsmanager:eu-central-1:111122223333:secret:sealing",
    "SubnetIds": ["subnet-1"],
    "SecurityGroupIds": ["sg-1"],
    "Seed": "s",
    "Run": "r",
    "AlarmTopicArn": "arn:aws:sns:eu-central-1:111122223333:told",
}
"""Parameters with which every condition holds that can hold with Lambda."""

ENVIRONMENT = {
    "MIRRORPROXY_RULES",
    "MIRRORPROXY_SEND_FUNCTION",
    "MIRRORPROXY_CHUNKS",
    "MIRRORPROXY_SPREAD",
    "MIRRORPROXY_SPREAD_OVER",
    "MIRRORPROXY_MAX_CHUNK_SHOTS",
    "MIRRORPROXY_MAX_SENDERS",
    "MIRRORPROXY_SEED",
    "MIRRORPROXY_RUN",
    "MIRRORPROXY_NAMESPACE",
}
"""What both functions look for (mirrorproxy.lambdas.settings), which a test compares."""

OF_SPLIT = {"MIRRORPROXY_SEAL_KEY"}

METRICS = {
    "Split": {"Read", "Selected", "Skipped", "Planned", "Shed", "Unreadable", "HandedOn"},
    "Send": {
        "Planned", "Answered", "Failed", "Shed", "Unsent", "Unreadable", "Doubled", "Interrupted",
        "HandedOn", "LagMs", "LatencyMs",
    },
}  # fmt: skip
"""What each counts, which a test reads in their logs."""

_NO_VALUE = object()
_VARIABLE = re.compile(r"\$\{([^}]+)\}")


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms."""


def _short_form(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {tag if tag == "Ref" else f"Fn::{tag}": value}


_Loader.add_multi_constructor("!", _short_form)


@functools.cache
def load() -> Any:
    """Return the template as it is written, functions in their long form. Not to be changed."""
    return yaml.load(PATH.read_text(), _Loader)


class Template:
    """The template with parameters. given: those that are not their defaults."""

    def __init__(self, **given: Any) -> None:
        self.raw = load()
        defaults = {name: self._default(one) for name, one in self.raw["Parameters"].items()}
        unknown = given.keys() - defaults.keys()
        assert not unknown, f"no such parameters: {unknown}"
        self.parameters: Mapping[str, Any] = {**defaults, **given}

    @staticmethod
    def _default(parameter: Mapping[str, Any]) -> Any:
        value = parameter["Default"]
        return value.split(",") if parameter["Type"] == "CommaDelimitedList" else value

    def resources(self, kind: str = "") -> dict[str, Any]:
        """Return the properties of what would be made, by name. kind: such as "AWS::SQS::Queue"."""
        return {
            name: self.worked_out(one.get("Properties", {}))
            for name, one in self.raw["Resources"].items()
            if self._exists(one) and kind in ("", one["Type"])
        }

    def outputs(self) -> dict[str, str]:
        """Return the outputs that there would be."""
        return {
            name: self.worked_out(one["Value"])
            for name, one in self.raw["Outputs"].items()
            if self._exists(one)
        }

    def statements(self) -> list[tuple[str, Any]]:
        """Return every statement of every policy of a principal's, with its resource's name."""
        found = []
        for name, role in self.resources("AWS::IAM::Role").items():
            for policy in role["Policies"]:
                found += [(name, one) for one in policy["PolicyDocument"]["Statement"]]
        for name, policy in self.resources("AWS::IAM::ManagedPolicy").items():
            found += [(name, one) for one in policy["PolicyDocument"]["Statement"]]
        return found

    def worked_out(self, node: Any) -> Any:
        """Return a node without functions. Raises KeyError for a name or function unknown here."""
        if isinstance(node, list):
            return [one for one in map(self.worked_out, node) if one is not _NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((name, argument),) = node.items()
            if name == "Ref" or name.startswith("Fn::"):
                return self._function(name, argument)
        values = {key: self.worked_out(value) for key, value in node.items()}
        return {key: value for key, value in values.items() if value is not _NO_VALUE}

    def holds(self, condition: str) -> bool:
        """Return whether a condition holds."""
        return bool(self.worked_out(self.raw["Conditions"][condition]))

    def _exists(self, one: Mapping[str, Any]) -> bool:
        return "Condition" not in one or self.holds(one["Condition"])

    def _function(self, name: str, argument: Any) -> Any:
        if name == "Ref":
            return self._reference(argument)
        if name == "Fn::GetAtt":
            assert argument.partition(".")[0] in self.raw["Resources"], argument
            return f"<{argument}>"
        if name == "Fn::Sub":
            return _VARIABLE.sub(lambda found: str(self._named(found[1])), argument)
        if name == "Fn::If":
            condition, true, false = argument
            return self.worked_out(true if self.holds(condition) else false)
        values = self.worked_out(argument)
        if name == "Fn::FindInMap":
            return self.raw["Mappings"][values[0]][str(values[1])][values[2]]
        if name == "Fn::Equals":
            return str(values[0]) == str(values[1])
        return {"Fn::Not": lambda: not values[0], "Fn::Join": lambda: values[0].join(values[1])}[
            name
        ]()

    def _named(self, name: str) -> Any:
        return self._function("Fn::GetAtt" if "." in name else "Ref", name)

    def _reference(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _NO_VALUE
        if name in self.raw["Resources"]:
            return f"<{name}>"
        return PSEUDO[name] if name in PSEUDO else self.parameters[name]
