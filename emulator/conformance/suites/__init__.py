"""The suites: one module for each profile, with a function `makers()` and its RULES."""
