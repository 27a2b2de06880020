"""The commands of `emu`, one module each: options here, work in the libraries."""
