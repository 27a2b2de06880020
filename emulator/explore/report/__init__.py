"""The report of a study: one HTML file that needs no network.

    study, rows, store ─► data ─► report.json ─► page ─► report.html

`data` is all that the report shows, as plain data: `points` what was asked and found, `details`
where a point's time, joules and dollars go, `sensitivity` what each axis does to each metric,
`machines` the chips. `page` puts the data, escaped, into HTML with the styles and scripts of
`assets`, and with Plotly's script if the extra `report` is installed. Nothing in either file
depends on when or where it was made.
"""
