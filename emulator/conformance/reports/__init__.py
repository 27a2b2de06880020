"""Reports on a run of the kit: report.py (what is to be said), summary.py (on the terminal),
junit.py and data.py (for machines), page.py (for people: one HTML file)."""
