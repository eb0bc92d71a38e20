"""objstore beside other stores, on one machine in one run: `make bench-peers`."""
