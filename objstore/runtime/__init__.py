"""The only door to the world: a Protocol each, real here and simulated in tests/sim."""
