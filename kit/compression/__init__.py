"""Making models smaller and faster: a room for each way."""
