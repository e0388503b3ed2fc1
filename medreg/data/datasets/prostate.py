"""Challenges of prostate MR whose label maps lie beside the images."""

from __future__ import annotations

from medreg.data.datasets.named import NamedImages


class PROMISE12(NamedImages):
    """T2 of 50 people from four hospitals, whole gland (Litjens et al., Medical Image Analysis 18(2), 2014)."""

    title = "PROMISE12"
    source = (
        "Download Case00.mhd, Case00_segmentation.mhd and so on from https://promise12.grand-challenge.org."
    )


class NCIISBI(NamedImages):
    """T2 of 1.5 T and 3 T scanners, peripheral zone and central gland (Bloch et al., NCI-ISBI 2013 challenge)."""

    title = "NCI-ISBI 2013"
    source = (
        "Download images and label maps from https://doi.org/10.7937/K9/TCIA.2015.zF0vlOPv (TCIA) and "
        "convert the DICOM series to NIfTI files of the names of the label maps."
    )
