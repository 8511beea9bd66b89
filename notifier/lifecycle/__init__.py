"""A run from its admission to its end: what one invocation does with one lane."""
