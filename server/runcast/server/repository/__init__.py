"""Stores and finds runs; never decides. One interface, one file for each backend."""
