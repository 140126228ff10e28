"""The core and the real world: threads, clocks, event loops."""
