"""The long fuzz run: random programs and mutated inputs, in numbers. See docs/fuzzing.md."""
