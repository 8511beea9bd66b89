"""The statistics of experiments: four whole numbers for each comparison, users and users with a conversion of two arms.

Pure functions of the standard library. Users are people, each counted once, so that no formula here is ever given
devices or records.

- `fixed_horizon`: valid once, when the last user's window is over. Newcombe's and MOVER-R's intervals, pooled z, Holm.
- `always_valid`: valid at any look before that. E-values by Lindon and Malek, and the interval that they give.
- `power`: how many users an experiment needs, and the smallest effect that it is likely to show.
- `means`: means instead of shares, by Welch's test, and CUPED.
- `comparison`: a control group and its variants compared by one of the two, with all corrections.
- `verdict`: what came of it, in words that need no statistics, and why there is no verdict where there is none.
"""
