"""The fault catalogue: one file for each thing that breaks. `python -m sandbox faults` lists them."""
