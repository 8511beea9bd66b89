"""Counting an audience: a job of several invocations, and what it found."""
