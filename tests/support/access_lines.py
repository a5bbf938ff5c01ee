"""Lines of access logs, as Traefik writes them and as shippers hand them on."""

from __future__ import annotations

import json
from typing import Any

STARTED_US = 1_700_000_000_123_456

TRAEFIK_3: dict[str, Any] = {
    "ClientAddr": "203.0.113.7:55516",
    "ClientHost": "203.0.113.7",
    "ClientPort": "55516",
    "ClientUsername": "-",
    "DownstreamContentSize": 9,
    "DownstreamStatus": 201,
    "Duration": 1432978,
    "OriginContentSize": 9,
    "OriginDuration": 1359697,
    "OriginStatus": 200,
    "Overhead": 73281,
    "RequestAddr": "api.example.com:8443",
    "RequestContentSize": 0,
    "RequestCount": 7,
    "RequestHost": "api.example.com",
    "RequestMethod": "GET",
    "RequestPath": "/orders?x=1&y=%20",
    "RequestPort": "8443",
    "RequestProtocol": "HTTP/1.1",
    "RequestScheme": "https",
    "RetryAttempts": 0,
    "RouterName": "orders@docker",
    "ServiceAddr": "10.0.3.7:8080",
    "ServiceName": "orders@docker",
    "ServiceURL": "http://10.0.3.7:8080",
    "StartLocal": "2023-11-14T23:13:20.123456789+01:00",
    "StartUTC": "2023-11-14T22:13:20.123456789Z",
    "TLSVersion": "1.3",
    "downstream_Content-Type": "application/json",
    "entryPointName": "websecure",
    "level": "info",
    "msg": "",
    "origin_Content-Type": "application/json",
    "request_Accept": "application/json",
    "request_Connection": "keep-alive, X-Hop",
    "request_Expect": "100-continue",
    "request_User-Agent": "curl/8",
    "request_X-Forwarded-For": "203.0.113.7",
    "request_X-Forwarded-Proto": "https",
    "request_X-Hop": "1",
    "request_X-Multi": "one,two",
    "request_X-Real-Ip": "203.0.113.7",
    "time": "2023-11-14T22:13:20Z",
}

# Traefik 1.7 knows no scheme and writes the backend's URL as Go's url.URL.
TRAEFIK_1: dict[str, Any] = {
    "BackendAddr": "10.0.3.7:8080",
    "BackendName": "backend-orders",
    "BackendURL": {
        "Scheme": "http", "Opaque": "", "User": None, "Host": "10.0.3.7:8080", "Path": "",
        "RawPath": "", "ForceQuery": False, "RawQuery": "", "Fragment": "",
    },
    "ClientAddr": "10.0.0.1:55516",
    "ClientHost": "203.0.113.7, 10.0.0.9",
    "DownstreamStatus": 200,
    "DownstreamStatusLine": "200 OK",
    "Duration": 1432978,
    "FrontendName": "Host-api-example-com-0",
    "RequestAddr": "api.example.com",
    "RequestContentSize": 0,
    "RequestCount": 7,
    "RequestHost": "api.example.com",
    "RequestLine": "GET /orders?x=1&y=%20 HTTP/1.1",
    "RequestMethod": "GET",
    "RequestPath": "/orders?x=1&y=%20",
    "RequestPort": "-",
    "RequestProtocol": "HTTP/1.1",
    "StartUTC": "2018-11-14T22:13:20.123456789Z",
    "level": "info",
    "msg": "",
    "request_Accept": "application/json",
    "request_User-Agent": "REDACTED",
    "request_X-Forwarded-Proto": "https",
    "time": "2018-11-14T22:13:20Z",
}  # fmt: skip


def text(fields: dict[str, Any], **changes: Any) -> str:
    """A line of a log; a change to None takes a field out. Names: _ in place of -."""
    merged = {**fields, **changes}
    return json.dumps({name: value for name, value in merged.items() if value is not None})


def line(fields: dict[str, Any] = TRAEFIK_3, **changes: Any) -> bytes:
    return text(fields, **changes).encode()


PLAIN = text(TRAEFIK_3)

SHIPPED = {
    "Fluentd, out_file": f"2023-11-14T22:13:20+00:00\ttraefik.access\t{PLAIN}",
    "Fluentd, parser none": json.dumps({"message": PLAIN}),
    "Fluentd, out_file, parser none": "2023-11-14T22:13:20+00:00\ttraefik.access\t"
    + json.dumps({"message": PLAIN}),
    "Fluentd, tag and time injected": json.dumps(
        {**TRAEFIK_3, "tag": "traefik.access", "log_time": "2023-11-14T22:13:20+00:00"}
    ),
    "Fluent Bit, no parser": json.dumps({"date": 1700000000.123456, "log": PLAIN}),
    "Fluent Bit, parser json": json.dumps({"date": "2023-11-14T22:13:20.123456Z", **TRAEFIK_3}),
    "Fluent Bit, kubernetes filter": json.dumps(
        {
            "date": 1700000000.123456,
            "stream": "stdout",
            "log": "",
            "log_processed": TRAEFIK_3,
            "kubernetes": {"pod_name": "traefik-0", "labels": {"app": "traefik"}},
        }
    ),
    "Vector, file source": json.dumps(
        {
            "file": "/var/log/traefik/access.log",
            "host": "edge-1",
            "message": PLAIN,
            "source_type": "file",
            "timestamp": "2023-11-14T22:13:20.223456789Z",
        }
    ),
    "Vector, text codec": PLAIN,
    "Docker, json-file": json.dumps(
        {"log": PLAIN + "\n", "stream": "stdout", "time": "2023-11-14T22:13:20.2Z"}
    ),
    "Docker Compose": f"traefik-1  | {PLAIN}",
    "the kubelet": f"2023-11-14T22:13:20.223456789Z stdout F {PLAIN}",
}
"""The line above, as its documentation says that each hands it on."""
