"""Data: from the folders on a user's disk to batches under one contract."""
