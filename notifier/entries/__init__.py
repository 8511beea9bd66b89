"""What each entry of `notifier.app` does.

- `worker`: from an event to the work on one lane.
- `sweeper`, with `expiry`, `pruning` and `daily`: lanes that are due, dead letters, and the tasks of once a day.
- `control`: operators' commands.
"""
