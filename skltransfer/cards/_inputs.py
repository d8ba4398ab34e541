"""How a sample becomes the input of a graph: of images, numbers and texts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from skltransfer.cards._renamed import RenamedFields, old_name

RESIZES = ("shorter", "squash")
ROUNDINGS = ("nearest", "torchvision", "transformers")
INTERPOLATIONS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
COLORS = ("RGB", "BGR", "L")
#: Types of numbers that a graph may take.
DTYPES = ("auto", "float32", "float64", "bool", *(f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64)))
LAYOUTS = ("NCHW", "NHWC")
LONG_TEXTS = ("truncate", "windows")


@dataclass(frozen=True)
class InputSpec(RenamedFields):
    """Base of input specifications: frozen dataclasses of plain values, one for each kind of sample."""

    #: Raised by every change of code that alters the numbers of this kind for the same specification.
    NUMERICS: ClassVar[int] = 1
    #: Name of the class in cache keys, which outlives a renaming.
    TAG: ClassVar[str]
    #: Fields that were added later: left out of cache keys at these values, which are not the defaults of today.
    ABSENT: ClassVar[Mapping[str, Any]] = {}

    #: Axes of the graph's input; kinds without such a choice leave it.
    layout = "NCHW"

    @property
    def settled(self) -> bool:
        """Whether nothing is left that only the graph can say."""
        return True

    @property
    def averaged(self) -> bool:
        """Whether the row of a sample may be the mean of the rows of its parts."""
        return False

    @property
    def places(self) -> tuple[int, int] | None:
        """Height and width the graph is to take; None where samples have no such axes."""
        return None

    @property
    def longest(self) -> int | None:
        """Tokens of the longest sample; None where all samples have one shape and none is padded."""
        return None

    def mistakes(self) -> list[str]:
        """List what is wrong with the values, each with the value."""
        raise NotImplementedError

    def canonical(self) -> dict[str, Any]:
        """Return the fields as cache keys have them: by their first names, later ones left out where not used."""
        first = {new: old for old, new in self.OLD_NAMES.items()}
        fields = dataclasses.asdict(self)
        return {
            first.get(name, name): value
            for name, value in fields.items()
            if name not in self.ABSENT or value != self.ABSENT[name]
        }


@dataclass(frozen=True)
class ImageSpec(InputSpec):
    """How an image becomes the input of a graph.

    The numbers that reach the graph are ``(range * pixel / 255 - mean) / std``, pixel by pixel.

    Parameters
    ----------
    size : (int, int)
        Height and width the graph takes, in pixels.
    resize : {"shorter", "squash"}
        ``"shorter"``: the shorter side is scaled to `resize_to` and the center is cropped to `size`; ``"squash"``: the
        whole image is scaled to `size`, its aspect ratio is not kept.
    resize_to : int
        Length of the shorter side before the crop, in pixels.
    interpolation : str
        Pillow's name of the filter, always antialiased.
    color : {"RGB", "BGR", "L"}
        Channel order; ``"L"``: one channel of gray, as Pillow computes it.
    range : float
        Value a white pixel has before `mean` and `std` are applied: 255.0 or 1.0, as the model was trained.
    mean, std : tuple of float
        Per channel, in the graph's channel order, in units of `range`.
    layout : {"NCHW", "NHWC"}
        Axes of the graph's input.
    draft : bool
        Let the JPEG decoder scale down while it decodes, and crop inside the scaling: about half the time per
        photograph, and slightly different pixels.
    max_pixels : int
        Larger images are refused before they are decoded.
    rounding : {"nearest", "torchvision", "transformers"}
        Fractions of a pixel: longer side to the nearest, crop down; longer side down, crop to the nearest; both down.
    """

    size: tuple[int, int]
    resize: str = "shorter"
    resize_to: int = 0
    interpolation: str = "bilinear"
    color: str = "RGB"
    range: float = 255.0
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    layout: str = "NCHW"
    draft: bool = False
    max_pixels: int = 50_000_000
    rounding: str = "nearest"

    TAG: ClassVar = "ImageSpec"
    OLD_NAMES: ClassVar = {"colour": "color", "fast": "draft"}
    colour = old_name("colour", "color")
    fast = old_name("fast", "draft")

    @property
    def places(self) -> tuple[int, int]:
        """Height and width the graph is to take."""
        return self.size

    @property
    def channels(self) -> int:
        """Number of channels the graph takes."""
        return 1 if self.color == "L" else 3

    def mistakes(self) -> list[str]:
        """List what is wrong with the values, each with the value."""
        if wrong := self._of_wrong_type():
            return wrong
        choices = {"resize": RESIZES, "rounding": ROUNDINGS, "color": COLORS, "layout": LAYOUTS}
        choices["interpolation"] = INTERPOLATIONS
        wrong = [
            f"input.{name} is {getattr(self, name)!r}, not one of {', '.join(allowed)}"
            for name, allowed in choices.items()
            if getattr(self, name) not in allowed
        ]
        if len(self.size) != 2 or not all(isinstance(n, int) and 0 < n <= 4096 for n in self.size):
            wrong.append(f"input.size is {self.size!r}, not [height, width] between 1 and 4096")
        elif self.resize == "shorter" and self.resize_to < max(self.size):
            wrong.append(f"input.resize_to is {self.resize_to!r}, smaller than the crop {self.size!r}")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) != self.channels or not all(
                isinstance(v, (int, float)) and math.isfinite(v) for v in values
            ):
                count = {1: "one finite number", 3: "three finite numbers"}[self.channels]
                wrong.append(f"input.{name} is {values!r}, not {count}, with input.color {self.color!r}")
        if any(v == 0 for v in self.std):
            wrong.append(f"input.std is {self.std!r}: zero cannot divide")
        if self.range not in (1.0, 255.0):
            wrong.append(f"input.range is {self.range!r}, not 1 or 255")
        return wrong

    def _of_wrong_type(self) -> list[str]:
        kinds = {"size": tuple, "resize_to": int, "mean": tuple, "std": tuple, "draft": bool, "max_pixels": int}
        return [
            f"input.{name} is {getattr(self, name)!r}, not a {'list' if kind is tuple else kind.__name__}"
            for name, kind in kinds.items()
            if not isinstance(getattr(self, name), kind)
        ]


@dataclass(frozen=True)
class ArraySpec(InputSpec):
    """Input of a backbone that takes numbers: handed to the graph in its own type, nothing done to them.

    Parameters
    ----------
    layout : {"NCHW", "NHWC"}
        Axes of the graph's input, if it has four or more.
    dtype : str
        NumPy's name of the type of numbers that the graph takes: doubles stay doubles, and integers that would change
        are refused. ``"auto"``: as the graph says.
    """

    layout: str = "NCHW"
    dtype: str = "auto"

    TAG: ClassVar = "ArraySpec"
    ABSENT: ClassVar = {"dtype": "float32"}

    @property
    def numbers(self) -> str:
        """Type in which numbers are prepared."""
        return "float32" if self.dtype == "auto" else self.dtype

    @property
    def settled(self) -> bool:
        """Whether the type is known."""
        return self.dtype != "auto"

    def canonical(self) -> dict[str, Any]:
        """Return the fields as cache keys have them."""
        return {name: value for name, value in super().canonical().items() if (name, value) != ("dtype", "auto")}

    def mistakes(self) -> list[str]:
        """List what is wrong with the values, each with the value."""
        choices = {"layout": LAYOUTS, "dtype": DTYPES}
        return [
            f"input.{name} is {getattr(self, name)!r}, not one of {', '.join(allowed)}"
            for name, allowed in choices.items()
            if getattr(self, name) not in allowed
        ]


@dataclass(frozen=True)
class TextSpec(InputSpec):
    """How a text becomes the input of a graph: by the card's file ``"tokenizer"``, a tokenizer.json.

    Parameters
    ----------
    max_length : int
        Tokens, special ones included, that the graph takes of a text.
    truncation : {"right", "left"}
        Side of a longer text that is cut off.
    long_text : {"truncate", "windows"}
        ``"truncate"``: what is cut off is lost; ``"windows"``: a longer text is the mean of its parts' embeddings.
    prefix : str
        Put before every text, as some models were trained ("query: ").
    max_chars : int
        Characters of a text that are looked at; bounds the time a hostile one takes.
    pad : int
        Token id that fills up the shorter texts of a batch; its mask is zero.
    layout : {"NCHW"}
        As for other inputs; tokens have none.
    fill : bool
        Fill every text up to `max_length` with `pad`, and mask nothing: for models that were trained so.
    lowercase : bool or None
        Whether texts are lower-cased before they are cut into tokens; None: as tokenizer.json says.
    """

    max_length: int = 256
    truncation: str = "right"
    long_text: str = "truncate"
    prefix: str = ""
    max_chars: int = 1_000_000
    pad: int = 0
    layout: str = "NCHW"
    fill: bool = False
    lowercase: bool | None = None

    TAG: ClassVar = "TextSpec"
    ABSENT: ClassVar = {"lowercase": None}

    @property
    def averaged(self) -> bool:
        """Whether long texts are the mean of their windows."""
        return self.long_text == "windows"

    @property
    def longest(self) -> int:
        """Tokens of the longest text."""
        return self.max_length

    def mistakes(self) -> list[str]:
        """List what is wrong with the values, each with the value."""
        choices = {"truncation": ("right", "left"), "long_text": LONG_TEXTS, "layout": LAYOUTS}
        wrong = [
            f"input.{name} is {getattr(self, name)!r}, not one of {', '.join(allowed)}"
            for name, allowed in choices.items()
            if getattr(self, name) not in allowed
        ]
        for name, least in (("max_length", 1), ("max_chars", 1), ("pad", 0)):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < least:
                wrong.append(f"input.{name} is {getattr(self, name)!r}, not an integer from {least} on")
        for name, kind in (("prefix", str), ("fill", bool), ("lowercase", bool)):
            value = getattr(self, name)
            if not isinstance(value, kind) and (name != "lowercase" or value is not None):
                wrong.append(f"input.{name} is {getattr(self, name)!r}, not a {kind.__name__}")
        return wrong


#: Input specification of each kind of sample; a new kind is added by `modalities.register`.
SPECS: dict[str, type[InputSpec]] = {"image": ImageSpec, "array": ArraySpec, "text": TextSpec}
