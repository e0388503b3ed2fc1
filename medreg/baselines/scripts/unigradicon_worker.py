"""uniGradICON, a foundation model for registration (Tian et al. 2024); its weights are downloaded at first use."""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Mapping
from typing import Any

from serving import Answer, CaseImage, Register, serve


def load() -> Register:
    """Import uniGradICON and load its network; weights are kept in the environment.

    The package looks for its weights below the current folder, which is a new one for every worker, and downloads
    what it does not find.
    """
    from unigradicon import get_unigradicon

    with contextlib.chdir(sys.prefix):
        network = get_unigradicon()

    def register(fixed: CaseImage, moving: CaseImage, settings: Mapping[str, Any]) -> Answer:
        return _register(network, fixed, moving, settings)

    return register


def _register(network: Any, fixed: CaseImage, moving: CaseImage, settings: Mapping[str, Any]) -> Answer:
    """Register as the package's documentation does: preprocess, `register_pair`, the ITK transform as a field.

    Args:
        network: the loaded model.
        fixed: fixed image.
        moving: moving image.
        settings: modality ("mri" or "ct"), finetune_steps (instance optimisation; null for none), threads. Masks
            blank the inputs, as the program's `--input_masking` does.
    """
    import itk
    import torch
    from icon_registration.itk_wrapper import register_pair
    from itk_arrays import itk_image, xyz
    from unigradicon import preprocess

    torch.set_num_threads(int(settings["threads"]))
    target, source = itk_image(fixed), itk_image(moving)
    ready = [
        preprocess(image, settings["modality"], None if one.mask is None else itk_image(one, one.mask))
        for image, one in ((source, moving), (target, fixed))
    ]
    # The first transform of the answer maps points of the second image given, the fixed one, to the first.
    weights = copy.deepcopy(network.state_dict())
    transform, _ = register_pair(network, *ready, finetune_steps=settings["finetune_steps"])
    network.load_state_dict(weights)  # the package leaves the network as optimised for this pair
    field = itk.transform_to_displacement_field_filter(
        transform, reference_image=target, use_reference_image=True
    )
    warped = itk.resample_image_filter(
        source, transform=transform, use_reference_image=True, reference_image=target
    )
    return Answer(xyz(field), "lps_mm", xyz(warped))


if __name__ == "__main__":
    serve(load)
