"""Hearts made by a trained run: from conditions, from one frame, at another age."""
