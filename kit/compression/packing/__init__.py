"""Fewer bytes in a packed file: shared values, and training under the price of the coder."""
