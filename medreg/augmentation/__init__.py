"""Random appearances and random poses of single images, for training without aligned pairs."""
