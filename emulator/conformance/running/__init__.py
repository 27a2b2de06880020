"""Running a kit on a device: children.py (processes with limits), devices.py (the command, or our
executors), verdict.py (from what a process left to a verdict), form.py (whether a result file has
the right form), journal.py (what is done survives the runner), runner.py (all of it together)."""
