"""What a machine, and an engine on it, can and cannot do, and what would mend it."""
