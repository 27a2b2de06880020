"""Compiles a Hugging Face checkpoint to a Tessera program."""
