"""Hearts made by a trained run: of people with given conditions, of one frame, or at another age."""
