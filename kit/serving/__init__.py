"""The service: models behind an address, watched over, guarded, and trained on request."""
