"""aws/mirrorproxy.yaml, beside what cfn-lint looks at: who may do what, and what is never lost."""

from __future__ import annotations

import json
import re

import pytest
from support import cloud_template
from support.cloud_template import ENVIRONMENT, EVERYTHING, LAMBDA, METRICS, OF_SPLIT, Template

from mirrorproxy.keys import BODIES, body_ref, object_key
from mirrorproxy.lambdas.settings import settings_of

MODES = [
    pytest.param({}, id="s3"),
    pytest.param({"Replay": "sqs"}, id="sqs"),
    pytest.param(LAMBDA, id="lambda"),
    pytest.param(EVERYTHING, id="everything"),
]


def listed(value):
    return value if isinstance(value, list) else [value]


def bucket(template):
    (found,) = template.resources("AWS::S3::Bucket").values()
    return found


@pytest.mark.parametrize("given", MODES)
def test_no_action_is_a_wildcard(given):
    """Of what is allowed; what is denied may be everything."""
    statements = Template(**given).statements()
    assert {one["Effect"] for _, one in statements} == {"Allow"}
    actions = [action for _, one in statements for action in listed(one["Action"])]
    assert actions
    assert [action for action in actions if not re.fullmatch(r"[a-z0-9]+:[A-Za-z]+", action)] == []


@pytest.mark.parametrize("given", MODES)
def test_every_resource_is_named(given):
    """Network interfaces aside, which have no name when they are asked for."""
    broad = [
        (name, listed(one["Action"])[0])
        for name, one in Template(**given).statements()
        if "*" in listed(one["Resource"])
    ]
    assert broad == ([("SendRole", "ec2:AssignPrivateIpAddresses")] if given is EVERYTHING else [])


def test_the_policy_of_captures_is_the_published_one(repository):
    """aws/capture-policy.json says the same with names in it."""
    properties = Template().resources()["CapturePolicy"]
    ours = json.dumps(properties["PolicyDocument"]).replace(
        "<Stream.Arn>", "arn:aws:firehose:eu-central-1:111122223333:deliverystream/mirror"
    )
    ours = ours.replace("<Captures.Arn>", "arn:aws:s3:::captures")
    assert json.loads(ours) == json.loads((repository / "aws/capture-policy.json").read_text())


@pytest.mark.parametrize(
    ("name", "given", "actions"),
    [
        pytest.param("WorkerPolicy", {}, {"s3:ListBucket", "s3:GetObject"}, id="worker on s3"),
        pytest.param(
            "WorkerPolicy",
            {"Replay": "sqs"},
            {"s3:ListBucket", "s3:GetObject", "sqs:ChangeMessageVisibility", "sqs:DeleteMessage",
             "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ReceiveMessage"},
            id="worker on sqs",
        ),
        pytest.param(
            "SplitRole",
            LAMBDA,
            {"logs:CreateLogStream", "logs:PutLogEvents", "sqs:DeleteMessage",
             "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "s3:ListBucket", "s3:GetObject",
             "s3:PutObject", "lambda:InvokeFunction", "sqs:SendMessage"},
            id="split",
        ),
        pytest.param(
            "SendRole",
            LAMBDA,
            {"logs:CreateLogStream", "logs:PutLogEvents", "s3:ListBucket", "s3:GetObject",
             "s3:PutObject", "s3:DeleteObject", "lambda:InvokeFunction", "sqs:SendMessage"},
            id="send",
        ),
    ],
)  # fmt: skip
def test_what_each_may_do(name, given, actions):
    """No more than docs/replay-from-aws.md and aws/README.md say."""
    found = [one for owner, one in Template(**given).statements() if owner == name]
    assert {action for one in found for action in listed(one["Action"])} == actions


def test_functions_write_chunks_and_claims_and_nothing_else():
    """Captures, their bodies and the rules are never changed by who replays them."""
    written = {
        (name, action, resource)
        for name, one in Template(**EVERYTHING).statements()
        if name in ("SplitRole", "SendRole")
        for action in {"s3:PutObject", "s3:DeleteObject"} & set(listed(one["Action"]))
        for resource in listed(one["Resource"])
    }
    chunks, claims = "<Captures.Arn>/replay/chunks/*", "<Captures.Arn>/replay/claims/*"
    assert written == {
        ("SplitRole", "s3:PutObject", chunks),
        ("SendRole", "s3:PutObject", chunks),
        ("SendRole", "s3:PutObject", claims),
        ("SendRole", "s3:DeleteObject", chunks),
    }


def test_secrets_are_for_send_alone():
    """split sees requests, and never a credential of the target."""
    owners = {
        name
        for name, one in Template(**EVERYTHING).statements()
        if {"secretsmanager:GetSecretValue"} & set(listed(one["Action"]))
        or EVERYTHING["ParameterArns"] == one["Resource"]
    }
    assert owners == {"SendRole"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({}, {"SSEAlgorithm": "AES256"}, id="S3's own key"),
        pytest.param(
            {"KmsKeyArn": EVERYTHING["KmsKeyArn"]},
            {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": EVERYTHING["KmsKeyArn"]},
            id="a key of one's own",
        ),
    ],
)
def test_the_bucket_is_encrypted(given, expected):
    (rule,) = bucket(Template(**given))["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"] == expected


def test_the_bucket_is_closed():
    """No public access, no lists of access, nothing without TLS."""
    template = Template()
    assert bucket(template)["PublicAccessBlockConfiguration"] == {
        "BlockPublicAcls": True,
        "BlockPublicPolicy": True,
        "IgnorePublicAcls": True,
        "RestrictPublicBuckets": True,
    }
    assert bucket(template)["OwnershipControls"] == {
        "Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]
    }
    (statement,) = template.resources()["CapturesPolicy"]["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert statement["Resource"] == ["<Captures.Arn>", "<Captures.Arn>/*"]


def test_the_bucket_empties_itself_and_survives_its_stack():
    """Captures after so many days, parts of uploads after one, chunks when none needs them."""
    template = Template(CaptureDays=7)
    rules = {rule["Id"]: rule for rule in bucket(template)["LifecycleConfiguration"]["Rules"]}
    assert rules["captures"]["ExpirationInDays"] == 7
    assert rules["captures"]["Prefix"] == "mirror/"
    assert rules["uploads"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    queues = Template(**LAMBDA).resources("AWS::SQS::Queue")
    kept_s = sum(queues[name]["MessageRetentionPeriod"] for name in ("Captured", "DeadLetters"))
    assert rules["replay"]["Prefix"] == "replay/"
    assert rules["replay"]["ExpirationInDays"] * 86400 > kept_s
    policies = [template.raw["Resources"]["Captures"][f"{when}Policy"] for when in
                ("Deletion", "UpdateReplace")]  # fmt: skip
    assert policies == ["RetainExceptOnCreate", "Retain"]


def test_the_stream_delivers_what_replay_reads():
    """Members joined as they are, under the names of the design, objects of 5 MiB or a minute."""
    (stream,) = Template().resources("AWS::KinesisFirehose::DeliveryStream").values()
    destination = stream["ExtendedS3DestinationConfiguration"]
    assert destination["CompressionFormat"] == "UNCOMPRESSED"
    assert destination["FileExtension"] == ".jsonl.gz"
    assert destination["BufferingHints"] == {"SizeInMBs": 5, "IntervalInSeconds": 60}
    assert destination["Prefix"] == "mirror/"
    # Each would change or part the bytes of members.
    assert destination.keys().isdisjoint(
        {"ProcessingConfiguration", "DynamicPartitioningConfiguration",
         "DataFormatConversionConfiguration"}
    )  # fmt: skip


@pytest.mark.parametrize("given", MODES)
def test_objects_are_told_of_and_bodies_are_not(given):
    """By prefix and name, as Firehose and captures straight to S3 name them."""
    template = Template(**given)
    if template.parameters["Replay"] == "s3":
        assert "NotificationConfiguration" not in bucket(template)
        return
    (told,) = bucket(template)["NotificationConfiguration"]["QueueConfigurations"]
    assert (told["Event"], told["Queue"]) == ("s3:ObjectCreated:*", "<Captured.Arn>")
    names = {rule["Name"]: rule["Value"] for rule in told["Filter"]["S3Key"]["Rules"]}
    key = object_key("mirror/", "stream", 0, "0" * 32)
    assert (key.startswith(names["prefix"]), key.endswith(names["suffix"])) == (True, True)
    assert not f"mirror/{body_ref(0, '0' * 32)}".endswith(names["suffix"])


def test_the_bucket_alone_may_fill_the_queue():
    """S3 on behalf of this bucket in this account, which must not be made before that is said."""
    template = Template()
    (statement,) = template.resources()["CapturedPolicy"]["PolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "s3.amazonaws.com"}
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": "111122223333"}
    name = bucket(template)["BucketName"]
    assert name == "mirror-stack-111122223333-eu-central-1"
    assert statement["Condition"]["ArnEquals"] == {"aws:SourceArn": f"arn:aws:s3:::{name}"}
    assert template.raw["Resources"]["Captures"]["DependsOn"] == "CapturedPolicy"
    own = Template(BucketName="own-name")
    (statement,) = own.resources()["CapturedPolicy"]["PolicyDocument"]["Statement"]
    assert statement["Condition"]["ArnEquals"] == {"aws:SourceArn": "arn:aws:s3:::own-name"}


@pytest.mark.parametrize("timeout", cloud_template.load()["Parameters"]["SplitTimeout"][
    "AllowedValues"
])  # fmt: skip
def test_messages_stay_hidden_for_six_times_the_time_out(timeout):
    """Or an object would be split a second time while the first is under way."""
    template = Template(**LAMBDA, SplitTimeout=timeout)
    resources = template.resources()
    assert resources["Captured"]["VisibilityTimeout"] >= 6 * int(resources["Split"]["Timeout"])


@pytest.mark.parametrize("given", MODES)
def test_what_fails_goes_to_a_dead_letter_queue(given):
    """Messages that are received five times, and chunks that fail once."""
    resources = Template(**given).resources()
    assert resources["Captured"]["RedrivePolicy"] == {
        "deadLetterTargetArn": "<DeadLetters.Arn>",
        "maxReceiveCount": 5,
    }
    assert resources["DeadLetters"]["MessageRetentionPeriod"] == 14 * 86400
    if given not in (LAMBDA, EVERYTHING):
        assert "SendOnce" not in resources
        return
    configured = {
        name: (one["FunctionName"], one["Qualifier"], one["MaximumRetryAttempts"])
        for name, one in Template(**given).resources("AWS::Lambda::EventInvokeConfig").items()
    }
    assert configured == {
        "SendOnce": ("<Send>", "$LATEST", 0),
        "SplitRest": ("<Split>", "$LATEST", 2),
    }
    for name in configured:
        kept = resources[name]["DestinationConfig"]
        assert kept == {"OnFailure": {"Destination": "<Unsent.Arn>"}}


@pytest.mark.parametrize("given", MODES)
def test_queues_are_encrypted(given):
    queues = Template(**given).resources("AWS::SQS::Queue")
    assert {name: one["SqsManagedSseEnabled"] for name, one in queues.items()} == dict.fromkeys(
        queues, True
    )


def test_one_object_an_invocation_and_so_many_at_once():
    (source,) = Template(**LAMBDA).resources("AWS::Lambda::EventSourceMapping").values()
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert source["BatchSize"] == 1
    assert source["ScalingConfig"] == {"MaximumConcurrency": 10}


def test_the_functions_are_the_programs():
    """By the handlers' names, with the bounds that keep a target alive."""
    functions = Template(**LAMBDA).resources("AWS::Lambda::Function")
    assert {name: one["Handler"] for name, one in functions.items()} == {
        "Split": "mirrorproxy.aws_lambda.split",
        "Send": "mirrorproxy.aws_lambda.send",
    }
    assert {(one["Runtime"], *one["Architectures"]) for one in functions.values()} == {
        ("python3.13", "arm64")
    }
    assert functions["Send"]["ReservedConcurrentExecutions"] == 20
    assert functions["Send"]["RecursiveLoop"] == "Terminate"
    unbounded = Template(**LAMBDA, SendConcurrency=0).resources()["Send"]
    assert "ReservedConcurrentExecutions" not in unbounded


def test_senders_are_not_more_than_may_run():
    """Every object under way has its senders, and the next ones that begin before their time."""
    parameters = Template().parameters
    needed = 2 * parameters["SplitConcurrency"] * parameters["MaxSenders"]
    assert needed <= parameters["SendConcurrency"]


def test_the_environment_is_what_the_functions_read():
    """All names with everything given; those without a value are left out."""
    functions = Template(**EVERYTHING).resources("AWS::Lambda::Function")
    assert functions["Split"]["Environment"]["Variables"].keys() == ENVIRONMENT | OF_SPLIT
    assert functions["Send"]["Environment"]["Variables"].keys() == ENVIRONMENT
    variables = Template(**LAMBDA).resources()["Split"]["Environment"]["Variables"]
    assert ENVIRONMENT - variables.keys() == {"MIRRORPROXY_SEED", "MIRRORPROXY_RUN"}
    assert variables["MIRRORPROXY_RULES"] == "s3://<Captures>/rules/rules.yaml"
    assert variables["MIRRORPROXY_CHUNKS"] == "s3://<Captures>/replay/"


class Asked(dict[str, str]):
    """An environment that remembers what was looked for."""

    def __init__(self, *values: dict[str, str]) -> None:
        super().__init__(*values)
        self.names: set[str] = set()

    def get(self, name, default=None):
        self.names.add(name)
        return super().get(name, default)


@pytest.mark.parametrize("given", [LAMBDA, EVERYTHING], ids=["least", "everything"])
def test_the_functions_take_the_environment(given):
    """Every name that they look for is set, every value taken."""
    for one in Template(**given).resources("AWS::Lambda::Function").values():
        variables = {
            name: str(value).replace("<Captures>", "captures")
            for name, value in one["Environment"]["Variables"].items()
        }
        asked = Asked({"AWS_LAMBDA_FUNCTION_NAME": one["FunctionName"], **variables})
        found = settings_of(asked)
        assert asked.names == ENVIRONMENT | {"AWS_LAMBDA_FUNCTION_NAME"}
        assert (found.send_function, found.spread_over_s) == ("mirror-stack-send", 60)
        assert found.chunks == ("captures", "replay/")


def test_split_has_time_for_the_spreading():
    """It lives until the last chunk is due."""
    parameters = Template().parameters
    assert parameters["SpreadOver"] == "60s"
    assert int(parameters["SplitTimeout"]) >= 60 * 1.5


def test_functions_may_invoke_those_that_are_named():
    """Their names are written before they exist: here they agree."""
    template = Template(**LAMBDA)
    functions = template.resources("AWS::Lambda::Function")
    arns = {
        name: f"arn:aws:lambda:eu-central-1:111122223333:function:{one['FunctionName']}"
        for name, one in functions.items()
    }
    invoked = {name: listed(one["Resource"]) for name, one in template.statements()
               if one["Action"] == "lambda:InvokeFunction"}  # fmt: skip
    assert invoked == {"SplitRole": [arns["Send"], arns["Split"]], "SendRole": [arns["Send"]]}
    for one in functions.values():
        named = one["Environment"]["Variables"]["MIRRORPROXY_SEND_FUNCTION"]
        assert named == functions["Send"]["FunctionName"] == "mirror-stack-send"


def test_rules_may_lie_in_a_parameter():
    variables = Template(**EVERYTHING).resources()["Send"]["Environment"]["Variables"]
    assert variables["MIRRORPROXY_RULES"] == "ssm:/mirrorproxy/rules"


@pytest.mark.parametrize("given", MODES)
def test_logs_end(given):
    groups = Template(**given).resources("AWS::Logs::LogGroup")
    assert {one["RetentionInDays"] for one in groups.values()} == {30}


def test_alarms_watch_what_there_is():
    """Metrics that the functions emit, with their one dimension; quiet while there are none."""
    template = Template(**EVERYTHING)
    alarms = template.resources("AWS::CloudWatch::Alarm")
    ours = {
        (one["Dimensions"][0]["Value"].strip("<>"), one["MetricName"])
        for one in alarms.values()
        if one["Namespace"] == template.parameters["Namespace"]
    }
    assert ours == {("Send", "Failed"), ("Send", "Shed"), ("Send", "Unsent"),
                    ("Send", "Interrupted"), ("Split", "Unreadable")}  # fmt: skip
    assert [name for name, metric in ours if metric not in METRICS[name]] == []
    dimensions = [one["Dimensions"] for one in alarms.values() if one["Namespace"] == "mirrorproxy"]
    assert {one["Name"] for some in dimensions for one in some} == {"Function"}
    assert {one["TreatMissingData"] for one in alarms.values()} == {"notBreaching"}
    assert all(one["AlarmActions"] == [EVERYTHING["AlarmTopicArn"]] for one in alarms.values())


@pytest.mark.parametrize(
    ("given", "alarms"),
    [
        pytest.param({}, ["StreamIsLate", "StreamThrottles"], id="s3"),
        pytest.param(
            {"Replay": "sqs"},
            ["HasDeadLetters", "QueueIsOld", "StreamIsLate", "StreamThrottles"],
            id="sqs",
        ),
    ],
)
def test_alarms_without_functions(given, alarms):
    assert sorted(Template(**given).resources("AWS::CloudWatch::Alarm")) == alarms


@pytest.mark.parametrize(
    ("prefix", "is_taken"),
    [("mirror", True), ("a/b_c-1", True), ("replay2", True), ("replay", False), ("rules/x", False),
     ("mirror/", False), ("/mirror", False), ("", False)],
)  # fmt: skip
def test_captures_do_not_lie_in_the_functions_folders(prefix, is_taken):
    """A chunk under the captures' prefix would be split for ever."""
    pattern = cloud_template.load()["Parameters"]["Prefix"]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, prefix)) is is_taken


def test_bodies_lie_where_send_may_read_them():
    readable = [resource for name, one in Template(**LAMBDA).statements()
                if name == "SendRole" and one["Action"] == "s3:GetObject"
                for resource in one["Resource"]]  # fmt: skip
    assert f"<Captures.Arn>/mirror/{BODIES}*" in readable
