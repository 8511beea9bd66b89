"""`python -m operations.cli`."""

from operations.cli import main

main()
