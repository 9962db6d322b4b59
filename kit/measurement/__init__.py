"""Measurement: how good, how large, how fast, and why; every figure with its n and its interval."""
