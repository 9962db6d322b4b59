"""Fewer bits: integer arithmetic, weights alone, mixed bits, and training under rounding."""
