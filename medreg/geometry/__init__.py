"""Pure tensor geometry: grids, warps, derivatives, transformations; voxels, tensor axes, pull direction."""
