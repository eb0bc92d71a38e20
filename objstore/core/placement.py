"""Plans of primaries and handoffs, old and new set during a ring change."""
