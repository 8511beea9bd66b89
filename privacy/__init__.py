"""What a stack has of one person, and its end: for the command line, and for the function of the privacy officers.

An erasure leaves the proofs of all runs valid.

- `app`: the Lambda entry of the officers' function; `service`: who may ask for what, and what is written down first;
  `jobs`: look-ups and erasures under way, and their answers.
- `whom`: the users to erase, as keyed hashes in the suppression list; ids are kept nowhere.
- `erased_bytes`: the bytes of one object without the erased users; `records`: what a file has, in any form that is
  accepted.
- `id_shapes`: where in a text an id may be, of which only a hash is known; `suspicion`: whether an erased user may be
  where no `user_id` says so.
- `places`: every prefix and table of the stack, and what becomes of an erased user there.
- `versions`: all versions of the bucket's objects; `under_way`: what the table says of runs, preparations, occurrences.
- `runs`: which runs are over, which objects each of them sent, and what is still needed; `waiting`: what an erasure
  waits for.
- `run_eraser`: replaces the objects of one run, and writes its tombstone.
- `counted`: the hashes by which caps count users.
- `file_eraser`: replaces or deletes all other files; `test_pushes`: the test pushes of the approval pages.
- `stack`: clients, names and objects of the stack; `erase`: all of it in one pass; `remaining`: what is left then.
"""
