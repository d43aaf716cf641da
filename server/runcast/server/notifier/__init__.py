"""Says that there is something new for a run: a hint to look, never the news itself."""
