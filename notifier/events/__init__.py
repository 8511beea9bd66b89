"""Events in and out: the nudge that starts a run, the one that continues it, the announcement of its end."""
