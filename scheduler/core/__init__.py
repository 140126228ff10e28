"""The part of Rota that decides: pure, deterministic, synchronous."""
