"""Batches from source to settlement: batch, batch source, hop, dispatch, checkpoint, and the policies beside them."""
