"""A run from its admission to its end: what one invocation does with one lane.

- `lane_worker`: claims a lane, opens the run, works a hop, leaves, and sees that it goes on.
- `admission`, `first_records`: the first claim reads, validates and stores what every later hop needs.
- `admitted`: what it stored, and why a run cannot begin, or not yet.
- `final_cut`: what a run over a prepared audience waits for as it begins: who is left out as of now.
- `lane_plan`: over how many lanes a run is spread, and what each of them sends.
- `run_closing`: the last of its lanes to be done writes the summary, has the run counted and announces its end.
- `waiting`: keeps the lease while a long call runs.
"""
