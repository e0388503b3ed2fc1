"""Greedy, the fast diffeomorphic registration of the PICSL tools (Yushkevich et al. 2016), through picsl_greedy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving import Answer, CaseImage, importing, serve


def register(fixed: CaseImage, moving: CaseImage, settings: Mapping[str, Any]) -> Answer:
    """Register with the options of the settings.

    Args:
        fixed: fixed image.
        moving: moving image.
        settings: options, the words of the command line between images and output; threads.
    """
    from itk_pictures import from_image, to_image, to_mask
    from picsl_greedy import Greedy3D

    greedy = Greedy3D()
    target, source = to_image(fixed), to_image(moving)
    masks = {} if fixed.mask is None else {"fm": to_mask(fixed), "mm": to_mask(moving)}
    where = "-gm fm -mm mm" if masks else ""
    words = f"-i f m {where} {settings['options']} -threads {settings['threads']} -o w"
    greedy.execute(words, f=target, m=source, w=None, **masks)
    # The field of the interface is a SimpleITK image, in LPS mm like the file that the program writes.
    field = greedy["w"]
    greedy.execute(f"-rf f -rm m r -r w -threads {settings['threads']}", r=None)
    own = from_image(greedy["r"])
    return Answer(from_image(field), "lps_mm", own)


if __name__ == "__main__":
    serve(importing(register, "itk_pictures", "picsl_greedy"))
