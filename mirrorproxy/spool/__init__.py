"""The spool: append-only segments between the data plane and shipping."""
