"""Random programs for holding the executors against each other."""
