"""One image file in, its label map out, by a trained run."""
