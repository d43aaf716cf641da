"""Runs providers: one executor for each way in which code can be run and stopped."""
