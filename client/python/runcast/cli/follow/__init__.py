"""Following a run: what a person or a program sees of it while it goes on."""
