"""DukeMTMC-reID and Occluded-Duke: Market layout, cameras 1 to 8."""

from __future__ import annotations

from dataclasses import replace

from partreid.datasets.readers.market1501 import FOLDER
from partreid.types import LabelNaming

WITHDRAWN = (
    "{name} is made from DukeMTMC, which its authors withdrew in 2019 over the consent of the people in it. "
    "Consider another data set, and check what your institution allows."
)

DUKEMTMC = replace(
    FOLDER,
    key="dukemtmc",
    name="DukeMTMC-reID",
    folders=("dukemtmcreid", "dukemtmc"),
    counts={"train": (702, 16522), "query": (702, 2228), "gallery": (1110, 17661)},
    notice=WITHDRAWN.format(name="DukeMTMC-reID"),
)

OCCLUDED_DUKE = replace(
    FOLDER,
    key="occluded_duke",
    name="Occluded-Duke",
    folders=("occludedduke", "occludeddukemtmc", "occludeddukemtmcreid"),
    counts={"train": (702, 15618), "query": (519, 2210), "gallery": (1110, 17661)},
    md5={
        "train": "09412368e174fd0f950d9d9baa843525",
        "query": "db29e536889800c0c93b28e7907fb0f4",
        "gallery": "3c299c6de9943382cc2325ac4afcf177",
    },
    notice=WITHDRAWN.format(name="Occluded-Duke"),
    label_naming=LabelNaming(name="{name}.confidence_fields.npy"),
)
