"""From one format to another, with proof that the answers stayed the same."""
