"""Replay without a worker: what the two functions of `aws_lambda` do."""
