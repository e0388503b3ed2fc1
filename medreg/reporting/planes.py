"""From arrays of a registered pair to flat planes as they are shown, in the orientation of `reporting.views`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from medreg.reporting.views import (
    STORED,
    Array,
    Letters,
    View,
    choose_centre,
    choose_slices,
    orthogonal_views,
)


@dataclass(frozen=True)
class Plane:
    """One flat view of a registered pair, ready to be drawn: all arrays are (rows, columns).

    Attributes:
        name: What is seen, such as "slice 4" or "axial 17".
        spacing_mm: Height and width of a pixel in mm.
        images: "fixed", "moving" and "warped" intensities.
        labels: The label maps that are known: "fixed", "moving", "warped".
        position: (2, rows, columns): where each pixel was sampled from in the moving plane, in pixels.
        magnitude_mm: Length of the displacement, through-plane component included, in mm.
        jacobian: Determinant of the Jacobian of x + u(x), no unit.
        letters: Patient directions at left, right, top and bottom, or empty where not known.
    """

    name: str
    spacing_mm: tuple[float, float]
    images: Mapping[str, Array]
    labels: Mapping[str, Array]
    position: Array
    magnitude_mm: Array
    jacobian: Array
    letters: Letters = field(default=())

    @property
    def size_mm(self) -> tuple[float, float]:
        """Height and width in mm."""
        rows, columns = self.jacobian.shape
        return rows * self.spacing_mm[0], columns * self.spacing_mm[1]


@dataclass(frozen=True)
class PairArrays:
    """A registered pair as arrays, images (*S) or (N, *S) for a stack, displacement (D, *S) or (N, D, *S).

    The displacement is in voxels of the fixed grid, component k along array axis k, pull direction:
    warped(x) = moving(x + u(x)). `spacing_mm` has one number per spatial axis.
    """

    images: Mapping[str, Array]
    displacement: Array
    spacing_mm: tuple[float, ...]
    labels: Mapping[str, Array]
    jacobian: Array | None = None

    def __post_init__(self) -> None:
        """Refuse arrays whose shapes cannot belong to one pair."""
        grid = self.images["fixed"].shape
        arrays = {**self.images, **{f"{name}_label": array for name, array in self.labels.items()}}
        if self.jacobian is not None:
            arrays["jacobian"] = self.jacobian
        for name, array in arrays.items():
            if array.shape != grid:
                raise ValueError(
                    f"{name} has shape {array.shape}, fixed has {grid}: resample to the fixed grid"
                )
        displaced = self.displacement.shape
        volume = len(displaced) == len(grid) + 1 and displaced == (len(grid), *grid) and len(grid) in (2, 3)
        stack = len(grid) == 3 and displaced == (grid[0], 2, *grid[1:])
        if not volume and not stack:
            raise ValueError(
                f"displacement has shape {displaced}: neither (D, *S) nor (N, 2, X, Y) for images {grid}"
            )
        if len(self.spacing_mm) != self.ndim:
            raise ValueError(f"spacing_mm has {len(self.spacing_mm)} numbers for {self.ndim} spatial axes")

    @property
    def is_stack(self) -> bool:
        """Whether the leading axis counts slices that were registered one by one."""
        return self.displacement.shape[1:] != self.images["fixed"].shape

    @property
    def ndim(self) -> int:
        """Number of spatial axes of the displacement."""
        return self.images["fixed"].ndim - int(self.is_stack)

    def slice_of_stack(self, index: int) -> PairArrays:
        """One slice of a stack as a 2-D pair."""
        return PairArrays(
            {name: array[index] for name, array in self.images.items()},
            self.displacement[index],
            self.spacing_mm,
            {name: array[index] for name, array in self.labels.items()},
            None if self.jacobian is None else self.jacobian[index],
        )


def pair_arrays(
    fixed: Array,
    moving: Array,
    *,
    warped: Array,
    displacement: Array,
    spacing_mm: Sequence[float] | Array,
    labels: Mapping[str, Array | None],
    jacobian: Array | None = None,
) -> PairArrays:
    """Check and tidy the arrays of one pair: axes of length one that are no slices are dropped.

    Accepts (1, *S) images with a (1, D, *S) displacement, as a batch of one case holds them, and, for
    stacks, a three-number spacing, whose last number (between slices) is not needed for drawing.
    """
    images = {"fixed": np.asarray(fixed), "moving": np.asarray(moving), "warped": np.asarray(warped)}
    known = {name: np.asarray(array) for name, array in labels.items() if array is not None}
    displacement = np.asarray(displacement)
    jacobian = None if jacobian is None else np.asarray(jacobian)
    leading = displacement.ndim == images["fixed"].ndim + 1 and displacement.shape[0] == 1
    if leading and displacement.shape[1] in (2, 3):
        displacement = displacement[0]
        images = {name: array[0] for name, array in images.items()}
        known = {name: array[0] for name, array in known.items()}
        jacobian = None if jacobian is None else jacobian[0]
    spacing = tuple(float(value) for value in np.ravel(np.asarray(spacing_mm)))
    in_plane = displacement.shape[0 if displacement.shape[1:] == images["fixed"].shape else 1] == 2
    return PairArrays(images, displacement, spacing[:2] if in_plane else spacing, known, jacobian)


def jacobian_determinant(displacement: Array) -> Array:
    """Determinant of the Jacobian of x + u(x) by central differences, one-sided at the border.

    Args:
        displacement: (D, *S) in voxels; an axis of length one counts as undeformed.

    Returns:
        (*S) without unit; 1 where nothing changes, at most 0 where the map folds. The spacing cancels.
    """
    ndim = displacement.shape[0]
    u = displacement.astype(np.float64)
    matrix = np.zeros((*displacement.shape[1:], ndim, ndim))
    for component in range(ndim):
        for axis in range(ndim):
            if displacement.shape[1 + axis] > 1:
                matrix[..., component, axis] = np.gradient(u[component], axis=axis)
            matrix[..., component, axis] += component == axis
    return np.asarray(np.linalg.det(matrix))


def cut(pair: PairArrays, view: View) -> Plane:
    """Cut one plane out of a 2-D pair or a volume, no stack."""
    u, flat = pair.displacement, view.flat
    position = np.stack([view.sign(axis) * flat(u[axis]).astype(float) for axis in view.axes])
    position += np.indices(position.shape[1:])
    squared = sum((flat(u[axis]).astype(float) * pair.spacing_mm[axis]) ** 2 for axis in range(pair.ndim))
    return Plane(
        name=view.name,
        spacing_mm=view.spacing_mm(pair.spacing_mm),
        images={key: flat(array) for key, array in pair.images.items()},
        labels={key: flat(array) for key, array in pair.labels.items()},
        position=position,
        magnitude_mm=np.sqrt(squared),
        jacobian=flat(pair.jacobian) if pair.jacobian is not None else _jacobian_near(pair, view),
        letters=view.letters,
    )


def planes_of(pair: PairArrays, *, orientation: str | None, slices: int) -> list[Plane]:
    """The planes that show a pair: itself in 2-D, slices of a stack, three orthogonal planes of a volume.

    Args:
        pair: The registered pair.
        orientation: Axis codes such as "RAS"; None: stored order for slices, "RAS" assumed for volumes.
        slices: The most slices of a stack to show.
    """
    label = pair.labels.get("fixed")
    if pair.ndim == 3:
        centre = choose_centre(pair.images["fixed"], label)
        return [cut(pair, view) for view in orthogonal_views(centre, orientation=orientation)]
    view = View(orientation=orientation or STORED, lettered=orientation is not None)
    if not pair.is_stack:
        return [cut(pair, view)]
    chosen = choose_slices(pair.images["fixed"] if label is None else label, slices)
    return [cut(pair.slice_of_stack(index), replace(view, name=f"slice {index}")) for index in chosen]


def crop(planes: Sequence[Plane], *, margin_mm: float) -> list[Plane]:
    """Cut planes down to their labels plus a margin; slices of a stack alike, unlabelled planes never."""
    alike = len({plane.jacobian.shape for plane in planes}) == 1
    masks = [_labelled(plane) for plane in planes]
    if alike:
        masks = [np.any(masks, axis=0)] * len(planes)
    return [
        _cut_out(plane, mask, margin_mm) if mask.any() else plane
        for plane, mask in zip(planes, masks, strict=True)
    ]


def _labelled(plane: Plane) -> Array:
    mask = np.zeros(plane.jacobian.shape, dtype=bool)
    for label in plane.labels.values():
        mask |= label != 0
    return mask


def _cut_out(plane: Plane, mask: Array, margin_mm: float) -> Plane:
    window = []
    for axis in (0, 1):
        inside = np.flatnonzero(mask.any(axis=1 - axis))
        margin = int(np.ceil(margin_mm / plane.spacing_mm[axis]))
        window.append(slice(max(int(inside[0]) - margin, 0), int(inside[-1]) + margin + 1))
    rows, columns = window
    offset = np.array([rows.start, columns.start], dtype=float).reshape(2, 1, 1)
    return replace(
        plane,
        images={key: array[rows, columns] for key, array in plane.images.items()},
        labels={key: array[rows, columns] for key, array in plane.labels.items()},
        position=plane.position[:, rows, columns] - offset,
        magnitude_mm=plane.magnitude_mm[rows, columns],
        jacobian=plane.jacobian[rows, columns],
    )


def _jacobian_near(pair: PairArrays, view: View) -> Array:
    """Jacobian determinant of one plane, from the three planes around it instead of the whole volume."""
    normal, index = view.normal, view.index
    if normal is None:
        return view.flat(jacobian_determinant(pair.displacement))
    start = max(index - 1, 0)
    slab = [slice(None)] * pair.displacement.ndim
    slab[normal + 1] = slice(start, index + 2)
    determinant = np.take(jacobian_determinant(pair.displacement[tuple(slab)]), [index - start], axis=normal)
    return view.flat(np.broadcast_to(determinant, pair.displacement.shape[1:]))
