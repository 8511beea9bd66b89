"""The report of a run: figures, the check of the arms, the time line, cost; as a table, as JSON, and as a page.

Only the command line imports it: nothing of it is in the way of the Lambda functions.
"""
