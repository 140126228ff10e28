"""The seam between Rota and its engines."""
