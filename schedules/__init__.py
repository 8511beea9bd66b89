"""Campaigns that come back: their definitions, when they occur, and the firing that makes a batch file of each time.

From the inside out:

- `timetable`: cron and time zone to occurrences, daylight saving included. Pure.
- `definition`: `schedules/NAME.json` as types, and every fault of one.
- `rules`: the states of an occurrence, and what becomes of it by the number of its users. `review`: until when an
  approver decides. Pure.
- `batch`: the batch file of an occurrence. `batch_files` writes it, once, after its approval.
- `documents`: the file that people edit, the queries it names, and the copy by which occurrences are made.
- `drops`: files that are written for each day, and whether they are complete.
- `store`: schedules and occurrences in the ledger's table.
- `occurrence_steps`: one occurrence, a step at a time. `stack` is what it needs of the rest of the stack.
- `winner`: which arm of a test has won. Pure. `winner_store`: the decisions in the table; `winner_steps`: one of them,
  a step at a time; `tested`: the tests in the rest of the stack.
- `occurs_words`: a rule in words.
- `firing`: the tick. `control`: what people do. `overview`: what the approval pages show.
- `app`: the Lambda entry.
"""
