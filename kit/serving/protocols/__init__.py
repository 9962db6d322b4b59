"""What clients speak: one file a protocol, each over the same registry of models."""
