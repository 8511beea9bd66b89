"""The command line `notifier`, and what only operators need. Never deployed."""
