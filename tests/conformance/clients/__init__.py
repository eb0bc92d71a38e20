"""Real clients against the store: what is installed, how a client runs, what it must do."""
