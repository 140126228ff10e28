"""Reports: who was served, what it cost, and how close memory came to its budget."""
