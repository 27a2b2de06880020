"""Fast kernels."""
