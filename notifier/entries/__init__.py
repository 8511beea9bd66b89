"""What each Lambda entry does: worker, sweeper, control."""
