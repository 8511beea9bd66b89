"""The fault catalogue: everything that breaks. `python -m sandbox faults` lists it.

A fault that is data alone is a row in the table of its kind: `gateway_answers`, `connections`, `s3`, `dynamodb`,
`invocations`, `kills`, `audiences`, `credentials`. One with code of its own is in a module of its name.
"""
