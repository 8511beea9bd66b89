"""Values and errors that every layer may know. Imports nothing of ours."""
