"""What X-Ray's console shows, on this machine: the service map and the waterfall of each trace.

`Observatory(daemon).pages(path)` answers one request; a server mounts it.
"""

from sandbox.observe.pages import Observatory

__all__ = ["Observatory"]
