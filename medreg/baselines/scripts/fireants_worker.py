"""FireANTs: greedy or SyN registration by adaptive gradient descent in torch (Jena et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from serving import Answer, CaseImage, importing, serve


def register(fixed: CaseImage, moving: CaseImage, settings: Mapping[str, Any]) -> Answer:
    """Register on the device of the settings.

    Args:
        fixed: fixed image.
        moving: moving image; both get an identity direction with their spacing, which the tool's normalised
            coordinates make the same problem.
        settings: kind ("greedy" or "syn"), shrinks, iterations, options of the registration class, device, threads.
    """
    import torch
    from fireants.io.image import BatchedImages, Image
    from fireants.registration.greedy import GreedyRegistration
    from fireants.registration.syn import SyNRegistration
    from itk_pictures import to_image

    torch.set_num_threads(int(settings["threads"]))
    classes = {"greedy": GreedyRegistration, "syn": SyNRegistration}
    pictures = [replace(picture, affine=np.diag([*fixed.spacing, 1.0])) for picture in (fixed, moving)]
    images = []
    for one in pictures:
        image = Image(to_image(one), device=settings["device"])
        if one.mask is not None:  # the last channel, by the loss of that name
            shape = replace(one, array=one.mask.astype(np.float32))
            image.concatenate(Image(to_image(shape), device=settings["device"]))
        images.append(BatchedImages([image]))
    options = dict(settings["options"])
    if fixed.mask is not None:
        options["loss_type"] = f"masked_{options['loss_type']}"
    method = classes[settings["kind"]](
        list(settings["shrinks"]), list(settings["iterations"]), *images, **options
    )
    method.optimize()
    with torch.no_grad():
        positions = method.get_warped_coordinates(*images)[0]  # (Z, Y, X, 3), x first in the last axis
        sizes = positions.shape[:-1]
        axes = [torch.linspace(-1, 1, size, device=positions.device) for size in sizes]
        still = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1)
        shift = (positions - still).cpu().numpy()
        warped = method.evaluate(*images)[0, 0].cpu().numpy()
    # Turned to (X, Y, Z), the components are in the order of the axes; the convention wants them reversed.
    return Answer(np.swapaxes(shift, 0, 2)[..., ::-1], "normalised", np.swapaxes(warped, 0, 2))


if __name__ == "__main__":
    serve(importing(register, "fireants.io.image", "itk_pictures"))
