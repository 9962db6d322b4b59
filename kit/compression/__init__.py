"""Making models smaller and faster: prune, quantize, distil."""
