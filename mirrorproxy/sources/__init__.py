"""Sources: reading captures, wherever they lie."""
