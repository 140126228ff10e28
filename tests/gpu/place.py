"""Where the models of these tests live, and units of size."""

POOL = "cuda:0"
GIB, MIB = 1024**3, 1024**2
