"""Traces: every step of the core on disk, to replay, explain and draw."""
