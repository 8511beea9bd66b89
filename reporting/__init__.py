"""The report of a run: figures, the check of the arms, the time line, the cost; as a table, as JSON, and as a page.

- `figures`, `rows`, `cost`, `chi_squared`: the report as a value; `table`, `page`, `svg`, `sql`: its forms.
- `monthly`: what a stack costs by the month, and a campaign of any size.
- `slowness`: why a run is, or was, slow, in words; `times`: times as texts.
- `statistics`: what an experiment's figures say; `lift_table`: as a table; `experiment`: what came of a goal.
- `over_days`: a schedule's experiment over its whole history.
- `proof`: a run recomputed from S3 alone, and a batch file of the devices that failed.
- `person`: what a stack has of one user; `trail`: who looked.

Only the command line imports it, so that it costs the Lambda functions no time at their start.
"""
