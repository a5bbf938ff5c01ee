"""Rules: which exchanges are sent where, and what is changed in them on the way."""
