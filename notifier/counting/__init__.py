"""Counts an audience before anybody decides to send to it, in a job that may take several invocations."""
