"""A small net learns from a large one: its answers, and its inner layers."""
