"""Other programs for registration behind one protocol: each runs in a process, and an environment, of its own."""
