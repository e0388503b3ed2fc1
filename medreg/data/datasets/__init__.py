"""One file a data set: its layout on disk, read strictly."""
