"""aws/README.md names what the template has."""

from __future__ import annotations

import re
import shlex

from pages import ROOT, blocks
from support.cloud_template import LAMBDA, PATH, Template

PAGE = ROOT / "aws/README.md"
TEXT = PAGE.read_text()


def first_column(heading: str) -> list[str]:
    """Return the names in the first column of the table under a heading."""
    (section,) = re.findall(rf"^\| {heading} \|.*?\n\n", TEXT, re.MULTILINE | re.DOTALL)
    cells = re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]


def test_every_output_is_named():
    """And none that there is not."""
    outputs = Template(**LAMBDA).outputs().keys() | Template(Replay="sqs").outputs().keys()
    assert sorted(first_column("Output")) == sorted(outputs)


def test_every_alarm_is_explained():
    """In the order of the template."""
    assert first_column("Alarm") == list(Template(**LAMBDA).resources("AWS::CloudWatch::Alarm"))


def test_the_commands_give_parameters_that_there_are():
    """With values that they take, and everything that the template then demands."""
    given = []
    for block in blocks(PAGE):
        for line in block.text.replace("\\\n", " ").splitlines():
            if "--parameter-overrides" in line:
                words = shlex.split(line.partition("--parameter-overrides")[2])
                given.append(dict(word.split("=", 1) for word in words))
    assert [one["Replay"] for one in given] == ["sqs", "lambda"]
    for one in given:
        template = Template(**one)
        assert one["Replay"] in template.raw["Parameters"]["Replay"]["AllowedValues"]
        assert template.holds("WithLambda") == ("CodeBucket" in one)


def test_parameters_named_in_the_page_are_the_templates():
    """What looks like one."""
    template = Template(**LAMBDA)
    known = (
        template.parameters.keys()
        | template.raw["Resources"].keys()
        | template.raw["Outputs"].keys()
        | {"RetainExceptOnCreate"}
    )
    named = re.findall(r"`([A-Z][A-Za-z]+)(?:=[^`]*)?`", TEXT)
    assert named
    assert [name for name in named if name not in known] == []


def test_the_template_can_be_given_as_it_is():
    """CreateStack takes 51,200 bytes in the request; more would have to lie in a bucket."""
    assert len(PATH.read_bytes()) < 51_200
