"""What feeds models without a client."""
