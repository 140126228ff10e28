"""What engines really take, each measured in a process of its own."""
