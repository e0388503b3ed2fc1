"""Files: images, labels, displacement fields and points; the only place that knows NIfTI, LPS/RAS and mm.

Everything returned follows the conventions of the house: arrays in the axis order of the file, affines from
voxel to RAS mm, displacements (D, *S) in voxels of the fixed grid, pull direction.
"""
