"""Moves runs through their lifecycle; the only caller of the repository's writing verb."""
