"""Measures Runcast beside the least that gRPC and SQLite cost on the same machine in the same minutes: `python -m bench`."""
