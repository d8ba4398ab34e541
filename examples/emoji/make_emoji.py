"""Build ``skltransfer/data/emoji.zip``, the labeled emoji behind ``load_emoji``.

The same emoji drawn twice: in color by Noto Color Emoji (domain ``noto``) and as black
outlines by Noto Emoji (domain ``mono``). Groups and subgroups are those of Unicode's
``emoji-test.txt``; keywords are the English ones of CLDR.

Fetch the sources, then build, from the root of the repository::

    apt-get install fonts-noto-color-emoji=2.042-0+deb12u1 unicode-data=15.0.0-1
    npm install --no-save --prefix build/emoji @fontsource/noto-emoji@5.3.2 cldr-annotations-full@48.2.0
    pip install pillow==13.0.0
    python examples/emoji/make_emoji.py --node-modules build/emoji/node_modules

Which emoji: those of one code point (no flags of countries, no skin tones, no joined
sequences) that each font draws unlike any other, of the first eight groups that are not
components, of subgroups with at least ``SMALLEST_SUBGROUP`` of them, so that a stratified
5-fold split works for both targets. Each group then gives ``PER_GROUP``, or all it has,
dealt from its subgroups in turn, in Unicode's order. Nothing is drawn by chance: the same
sources, and the same Pillow, give the same bytes.
"""

import argparse
import csv
import hashlib
import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

PER_GROUP = 100
SMALLEST_SUBGROUP = 5
SIZE = 72  # pixels, height and width
LEFT_OUT = {
    "Component": "skin tones and hair, not pictures of their own",
    "Flags": "only five of them have a single code point",
    "middle finger": "the data is shown in public talks and class rooms",
}
COLUMNS = ("codepoints", "name", "keywords", "group", "subgroup")
Pictures = tuple[bytes, bytes]  # noto, mono
TIMESTAMP = (1980, 1, 1, 0, 0, 0)  # the earliest a zip archive can hold


@dataclass(frozen=True)
class Emoji:
    """One line of ``emoji-test.txt``: a code point, and what Unicode says of it."""

    char: str
    name: str
    group: str
    subgroup: str

    @property
    def codepoints(self) -> str:
        return f"{ord(self.char):x}"


# -- which emoji ---------------------------------------------------------------------------


def read_emoji_test(text: str) -> Iterator[Emoji]:
    """Yield the fully-qualified emoji of one code point, in Unicode's order."""
    line_of = re.compile(r"(?P<codes>[0-9A-F ]+?) *; fully-qualified +# \S+ E\S+ (?P<name>.+)")
    heading = {"group": "", "subgroup": ""}
    for line in text.splitlines():
        if found := re.match(r"# (group|subgroup): (.+)", line):
            heading[found[1]] = found[2].strip()
        elif found := line_of.match(line):
            # FE0F only asks for the picture instead of the letter; it is no part of the glyph
            codes = [code for code in found["codes"].split() if code != "FE0F"]
            if len(codes) == 1:
                yield Emoji(chr(int(codes[0], 16)), found["name"], **heading)


def choose(candidates: list[Emoji]) -> list[Emoji]:
    """Return the emoji of the data set by the rule in this module's docstring."""
    groups: dict[str, dict[str, list[Emoji]]] = {}
    for emoji in candidates:
        if emoji.group not in LEFT_OUT and emoji.name not in LEFT_OUT:
            groups.setdefault(emoji.group, {}).setdefault(emoji.subgroup, []).append(emoji)
    return [emoji for subgroups in groups.values() for emoji in deal(subgroups)]


def deal(subgroups: dict[str, list[Emoji]]) -> list[Emoji]:
    """Take the first of every subgroup, then the second, until ``PER_GROUP`` are taken."""
    large = [members for members in subgroups.values() if len(members) >= SMALLEST_SUBGROUP]
    turns = chain.from_iterable(zip_longest(*large))
    taken = list(islice((emoji for emoji in turns if emoji is not None), PER_GROUP))
    return sorted(taken, key=lambda emoji: list(chain(*large)).index(emoji))


# -- how they are drawn --------------------------------------------------------------------


def draw_noto(char: str, font_file: Path) -> bytes:
    """Draw in color on white; lossy WebP, half the bytes of a PNG with a palette."""
    # 109 is the only size of the bitmaps (CBDT) inside Noto Color Emoji
    font = ImageFont.truetype(font_file, 109, layout_engine=ImageFont.Layout.BASIC)
    canvas = draw_centered(char, font, side=136)
    return encode(canvas.resize((SIZE, SIZE), Image.Resampling.LANCZOS), "WEBP", quality=80, method=6)


def draw_mono(char: str, font_file: Path) -> bytes:
    """Draw as black outlines on white; PNG of 16 grays."""
    font = ImageFont.truetype(font_file, 4 * SIZE, layout_engine=ImageFont.Layout.BASIC)
    canvas = draw_centered(char, font, side=5 * SIZE).resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    greys = canvas.convert("L").quantize(16)
    return encode(greys, "PNG", optimize=True, bits=4)


def draw_centered(char: str, font: ImageFont.FreeTypeFont, side: int) -> Image.Image:
    canvas = Image.new("RGB", (side, side), "white")
    left, top, right, bottom = font.getbbox(char)
    corner = ((side - left - right) / 2, (side - top - bottom) / 2)
    ImageDraw.Draw(canvas).text(corner, char, fill="black", font=font, embedded_color=True)
    return canvas


def encode(image: Image.Image, kind: str, **options: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def mono_files(package: Path) -> dict[str, Path]:
    """Return the font file of each character: the web font comes in slices named by its CSS."""
    css = (package / "400.css").read_text(encoding="utf-8")
    faces = re.findall(r"url\(\./(\S+?\.woff)\).*?unicode-range: (.+?);", css, re.DOTALL)
    return {
        chr(code): package / file
        for file, ranges in faces
        for first, last in re.findall(r"U\+([0-9a-f]+)(?:-([0-9a-f]+))?", ranges)
        for code in range(int(first, 16), int(last or first, 16) + 1)
    }


def draw_all(emoji: list[Emoji], color_font: Path, slices: dict[str, Path]) -> dict[Emoji, Pictures]:
    """Return both pictures of each emoji that each font draws unlike all others.

    Those drawn alike (a prince and a princess, in outline) have no right answer; and a
    font draws one and the same box for every glyph that it lacks.
    """
    drawn = {
        one: (draw_noto(one.char, color_font), draw_mono(one.char, slices[one.char]))
        for one in emoji
        if one.char in slices
    }
    copies = Counter(chain.from_iterable(drawn.values()))
    return {one: pair for one, pair in drawn.items() if copies[pair[0]] == copies[pair[1]] == 1}


# -- what is written -----------------------------------------------------------------------


def table(chosen: list[Emoji], annotations: dict[str, dict[str, list[str]]]) -> bytes:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for emoji in chosen:
        keywords = ", ".join(annotations[emoji.char]["default"])
        writer.writerow((emoji.codepoints, emoji.name, keywords, emoji.group, emoji.subgroup))
    return stream.getvalue().encode("utf-8")


def write_zip(path: Path, members: dict[str, bytes]) -> None:
    """Write members in sorted order, uncompressed (pictures do not shrink) and undated."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(members.items()):
            info = zipfile.ZipInfo(name, TIMESTAMP)
            info.create_system, info.external_attr = 3, 0o644 << 16  # same bytes on every system
            archive.writestr(info, content)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Build skltransfer/data/emoji.zip.")
    parser.add_argument("--node-modules", type=Path, required=True, help="folder npm installed into")
    parser.add_argument("--color-font", type=Path, default=Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"))
    parser.add_argument("--emoji-test", type=Path, default=Path("/usr/share/unicode/emoji/emoji-test.txt"))
    parser.add_argument("--color-license", type=Path, default=Path("/usr/share/doc/fonts-noto-color-emoji/copyright"))
    parser.add_argument("--output", type=Path, default=Path("skltransfer/data/emoji.zip"))
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    mono, cldr = args.node_modules / "@fontsource/noto-emoji", args.node_modules / "cldr-annotations-full"
    annotations = json.loads((cldr / "annotations/en/annotations.json").read_text(encoding="utf-8"))
    candidates = list(read_emoji_test(args.emoji_test.read_text(encoding="utf-8")))
    drawn = draw_all(candidates, args.color_font, mono_files(mono))
    chosen = choose(list(drawn))
    members = {
        "emoji.csv": table(chosen, annotations["annotations"]["annotations"]),
        "LICENSES/noto-color-emoji.txt": args.color_license.read_bytes(),
        "LICENSES/noto-emoji.txt": (mono / "LICENSE").read_bytes(),
        "LICENSES/unicode-cldr.txt": (cldr / "LICENSE").read_bytes(),
    }
    for emoji in chosen:
        members[f"noto/{emoji.codepoints}.webp"], members[f"mono/{emoji.codepoints}.png"] = drawn[emoji]
    write_zip(args.output, members)
    content = args.output.read_bytes()
    print(f"{len(chosen)} emoji, {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
