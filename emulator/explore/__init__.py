"""Architecture exploration: change a number, see speed, energy, cost and quality move."""
