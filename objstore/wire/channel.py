"""One multiplexed connection: authentication, request ids, streams, deadlines."""
