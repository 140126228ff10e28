"""The edges: how requests come in from outside the process, and how answers go back."""
