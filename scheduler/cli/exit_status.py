"""What the command's exit status says."""

GOOD = 0
NO = 1
"""The question was understood, and the answer is no."""
WRONG = 2
"""Wrong usage or configuration."""
