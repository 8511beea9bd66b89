"""Events in and out: what starts a run, the nudge that continues it, the announcement of its end."""
