"""Erasing users from everything that a stack keeps of them, so that a run's proof holds afterwards.

- `whom`: the users, as keyed hashes in the suppression list; ids are kept nowhere.
- `content`: the bytes of one object without the erased users.
- `places`: every prefix and table of the stack, and what becomes of an erased user there.
- `runs`: which runs are over, and which objects each of them sent.
- `one_run`: replaces the objects of one run, and writes its tombstone.
- `counted`: the hashes by which caps count users.
- `erase`: the whole stack in one pass.
"""
