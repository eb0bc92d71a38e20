"""The consistent-hash ring: knows devices and partitions, nothing of objects or HTTP."""
