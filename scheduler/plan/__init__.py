"""What a configuration can keep up with: tried in virtual time, and bounded where that is sound."""
