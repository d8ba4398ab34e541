"""Images: path, bytes, PIL image or array to the uint8 pixels a card's `ImageSpec` asks for.

The room reads and decodes; it starts no thread. What it refuses it refuses by name, and it never guesses: a float array
could be 0 to 1 or 0 to 255, an array (3, h, w) could be an image three pixels high.
"""

import dataclasses

from skltransfer._engine.modalities._modality import Modality
from skltransfer._engine.modalities.image._formats import FORMATS, begins_like, looks_like
from skltransfer._engine.modalities.image._geometry import Placement, placement, placement_of
from skltransfer._engine.modalities.image._graph import PRESETS, check, complete, explain, preprocess, signs
from skltransfer._engine.modalities.image._prepare import ImagePreparer, prepare, probe, to_tensor
from skltransfer._engine.modalities.image._read import Source, glance, path_of, read
from skltransfer._engine.modalities.image._synthetic import drawings, photographs, pictures, synthetic
from skltransfer.cards import ImageSpec

__all__ = [
    "FORMATS",
    "IMAGE",
    "PRESETS",
    "Placement",
    "Source",
    "begins_like",
    "drawings",
    "glance",
    "looks_like",
    "path_of",
    "photographs",
    "pictures",
    "placement",
    "placement_of",
    "prepare",
    "probe",
    "read",
    "to_tensor",
]

IMAGE = Modality(
    name="image",
    spec=ImageSpec,
    signs=signs,
    complete=complete,
    check=check,
    preprocess=preprocess,
    preparer=ImagePreparer,
    presets=PRESETS,
    synthetic=synthetic,
    to_tensor=lambda sample, spec: to_tensor([sample], spec),
    views=("flip",),
    variants=("mirror", "crop"),
    prepared="images",
    explain=explain,
    faster=lambda spec: None if spec.draft else dataclasses.replace(spec, draft=True),
)
