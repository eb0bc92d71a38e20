"""The ring as an operator changes it: add, weigh, remove, rebalance."""
