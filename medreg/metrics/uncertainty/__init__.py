"""Is a stated uncertainty true? Coverage, ranks, scores, sparsification, labels; recalibration beside the raw figures.

Voxelwise functions take tensors (N, D, *S) as the batch contract has them, the others arrays of numbers. `case` joins
them into the rows of one case and into counts (`table`) that can be pooled over cases.
"""
