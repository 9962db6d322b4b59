"""Which runtime: every way to run a model is measured, and the fastest that answers alike is taken."""
