"""Campaigns that come back: their definitions, when they occur, and the firing that makes a batch file of each time.

From the inside out:

- `timetable`: cron and time zone to occurrences, daylight saving included. Pure.
- `definition`: `schedules/NAME.json` as types, and every fault of one.
"""
