"""The report of a run: figures, the check of the arms, the time line, the cost; as a table, as JSON, and as a page.

- `figures`, `rows`, `cost`, `chi_squared`: the report as a value; `table`, `page`, `svg`, `sql`: its forms.
- `monthly`: what a stack costs by the month, and a campaign of any size.
- `slowness`: why a run is, or was, slow, in words; `times`: times as texts.
- `statistics`: what an experiment's figures say; `lift_table`, `lift_words`: as a table, and its texts.
- `outcome`: what came of a goal, and who won; `pictures`: drawn; `experiment`: on the terminal and in the page.
- `holdout`: what all pushes of a time have brought.
- `over_days`: a schedule's experiment over its whole history.
- `proof`: a run recomputed from S3 alone, and a batch file of the devices that failed.
- `person`: what a stack has of one user; `trail`: who looked.

The command line imports all of it. The pages ship with `statistics`, `outcome`, `pictures` and their words, so that
they show the report's own figures; nothing else of it costs a Lambda function time at its start.
"""
