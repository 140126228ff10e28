"""Timelines: a picture of who was in memory, who ran and who missed, over time."""
