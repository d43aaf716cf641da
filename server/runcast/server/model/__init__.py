"""What Runcast is about, as plain values and pure functions: no I/O, no clock, no protobuf.

Times are integers, microseconds since 1970 UTC; durations are integers, microseconds.
"""
