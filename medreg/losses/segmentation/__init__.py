"""Terms that compare two segmentations of the same image."""
