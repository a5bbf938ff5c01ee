"""What the stack's tests run where no zip was built: the two handlers, as small as can be.

Goes into the zip as mirrorproxy/aws_lambda.py and knows nothing of mirrorproxy. It keeps to what
the template promises the real functions: their environment, events, folders and permissions.
"""

import gzip
import json
import os
import re
import urllib.parse
import urllib.request

import boto3


def split(event, _context):
    """Read objects that an SQS message names, and hand their requests to send."""
    failed = []
    for message in event["Records"]:
        try:
            body = json.loads(message["body"])
            if body.get("Event") != "s3:TestEvent":
                for record in body["Records"]:
                    _hand_on(record["s3"]["bucket"]["name"], record["s3"]["object"]["key"])
        except (KeyError, ValueError) as error:
            print(f"not an event of S3's: {error!r}")
            failed.append({"itemIdentifier": message["messageId"]})
    return {"batchItemFailures": failed}


def send(event, _context):
    """Send a chunk to the target that the rule file names."""
    chunk = json.loads(_read(event["chunk"]))
    target = re.search(r"url: (\S+)", _read(os.environ["MIRRORPROXY_RULES"]).decode())[1]
    for path in chunk:
        urllib.request.urlopen(target + path, timeout=30).close()


def _hand_on(bucket, key):
    lines = gzip.decompress(_read(f"s3://{bucket}/{urllib.parse.unquote_plus(key)}"))
    paths = [json.loads(line)["request"]["target"] for line in lines.splitlines()]
    chunk = os.environ["MIRRORPROXY_CHUNKS"] + "chunks/" + key.rpartition("/")[2]
    into = urllib.parse.urlsplit(chunk)
    boto3.client("s3").put_object(
        Bucket=into.netloc, Key=into.path.lstrip("/"), Body=json.dumps(paths).encode()
    )
    boto3.client("lambda").invoke(
        FunctionName=os.environ["MIRRORPROXY_SEND_FUNCTION"],
        InvocationType="Event",
        Payload=json.dumps({"chunk": chunk}),
    )


def _read(url):
    found = urllib.parse.urlsplit(url)
    answer = boto3.client("s3").get_object(Bucket=found.netloc, Key=found.path.lstrip("/"))
    return answer["Body"].read()
