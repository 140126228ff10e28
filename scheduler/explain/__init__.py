"""What was decided, decided again: the comparison with a trace, and the story of one request."""
