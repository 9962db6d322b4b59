"""Running models: one call on every runtime, and the model folder they are kept in."""
