"""Timing held against measured parts."""
