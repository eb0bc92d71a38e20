"""The durable index behind the packs."""
