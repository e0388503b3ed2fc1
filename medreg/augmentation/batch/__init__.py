"""Random changes of labelled training images, whole batches at a time, on any device."""
