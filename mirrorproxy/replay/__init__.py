"""Replay: when shots are due, how they are sent, and the ledger that balances."""
