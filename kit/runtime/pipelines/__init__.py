"""Pipelines: files, arrays and texts in, labels and texts out; what is done in between stands in the card."""
