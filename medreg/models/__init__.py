"""Registration models: a network or an optimiser that answers a pair of images with a deformation."""
