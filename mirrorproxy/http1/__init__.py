"""The wire engine: HTTP/1.x as bytes and callbacks, for the proxy and the replay sender alike.

`grammar`, `lines`, `heads`, `messages` and `body` turn bytes into values and back;
`server`, `client` and `pool` put them on transports. Nothing here knows of
capturing, rules or records' meaning.
"""
