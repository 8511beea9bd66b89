"""What each entry of `notifier.app` does.

- `worker`: from an event to the work on one lane.
- `sweeper`, with `expiry`, `pruning` and `daily`: lanes that are due, dead letters, and the tasks of once a day.
- `dead_letters`: those that replays do not clear.
- `control`: operators' commands.
- `secret_access`: whether the worker's role can read the gateways' secrets.
"""
