"""What the machine and this process say about memory."""
