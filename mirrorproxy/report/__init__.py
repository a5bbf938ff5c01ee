"""What is said about a capture or a replay: added up, laid out as text, never sent."""
