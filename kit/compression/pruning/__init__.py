"""Fewer channels or fewer weights: prune, clip, and scan for what each layer bears."""
