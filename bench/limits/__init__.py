"""Bare minimum programs: what the machine, gRPC and SQLite allow a Python server that has no engine, journal or auth."""
