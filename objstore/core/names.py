"""Which bucket names and object keys are valid."""
