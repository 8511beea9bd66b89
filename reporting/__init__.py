"""The report of a run: figures, the check of the arms, the time line, the cost; as a table, as JSON, and as a page.

Only the command line imports it, so that it costs the Lambda functions no time at their start.
"""
