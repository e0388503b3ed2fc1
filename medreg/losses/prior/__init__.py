"""Prior densities of a deformation, built on the energy of a regulariser."""
