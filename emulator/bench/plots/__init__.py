"""Pictures and tables of what the bench has written."""
