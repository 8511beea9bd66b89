"""Puts the parts together. Above it are only the entries; below it no layer knows which adapters there are.

- `settings`: the environment, read once.
- `process`, `library`, `gateways`: what a process keeps: stores, the objects in S3, gateways and credentials.
- `hop_maker`: a hop from ports; tests use it with twins.
- `hops`: the hop factory of the lane worker, and the closing of runs.
- `hop_metrics`: log, metrics and traces of a process and its hops; `hop_speed`: what holds a hop back.
"""
