"""A package, so that pytest ends the fixtures of scope `package` with the folder's last test.

In a plain folder they would last as long as the process: Chromium, and a stack that sweeps every two seconds.
"""
