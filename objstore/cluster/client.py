"""RPC to one node."""
