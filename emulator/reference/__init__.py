"""The reference executor: plain, slow, and the living definition of every result bit."""
