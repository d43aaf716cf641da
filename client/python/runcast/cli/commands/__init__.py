"""The commands: each module here registers what it brings with a function `add(app)`, and nothing else names it."""
