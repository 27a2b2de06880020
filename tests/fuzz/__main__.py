"""`python -m fuzz`: see docs/fuzzing.md."""

from fuzz.command import main

main()
