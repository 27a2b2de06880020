"""How the emulator's own time and memory grow: with the model, the context, the tiles, the text."""
