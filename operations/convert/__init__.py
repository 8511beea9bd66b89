"""Makes audiences of other tools' files."""
