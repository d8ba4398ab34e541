"""The data inside the package: complete, readable, the same emoji in both domains."""

import io

import numpy as np
import pytest
from PIL import Image

from skltransfer.datasets import load_emoji

DOMAINS = ["noto", "mono"]


def test_emoji_has_785_samples_in_every_column():
    emoji = load_emoji()
    columns = ("images", "texts", "target", "subgroup", "names", "codepoints")
    assert {len(emoji[column]) for column in columns} == {785}


def test_emoji_groups_are_nearly_balanced():
    emoji = load_emoji()
    counts = dict(zip(emoji.target_names, np.bincount(emoji.target), strict=True))
    assert counts.pop("Activities") == 85
    assert set(counts.values()) == {100}


def test_emoji_subgroups_are_large_enough_for_five_folds():
    emoji = load_emoji()
    counts = np.bincount(emoji.subgroup)
    assert len(counts) == len(emoji.subgroup_names) == 85
    assert counts.min() == 5


def test_emoji_subgroup_tells_the_group():
    emoji = load_emoji()
    assert len(set(zip(emoji.subgroup, emoji.target, strict=True))) == 85


@pytest.mark.parametrize("domain", DOMAINS)
def test_emoji_images_decode_to_72_pixels_with_something_on_them(domain):
    for encoded in load_emoji(domain).images:
        image = Image.open(io.BytesIO(encoded)).convert("RGB")
        assert image.size == (72, 72)
        assert len(image.getcolors(maxcolors=72 * 72)) > 1


@pytest.mark.parametrize("domain", DOMAINS)
def test_emoji_images_differ_from_each_other(domain):
    assert len(set(load_emoji(domain).images)) == 785


def test_emoji_domains_differ_in_their_images_only():
    noto, mono = (load_emoji(domain) for domain in DOMAINS)
    assert not set(noto.images) & set(mono.images)
    assert noto.texts == mono.texts
    np.testing.assert_array_equal(noto.target, mono.target)
    np.testing.assert_array_equal(noto.subgroup, mono.subgroup)


def test_emoji_text_is_name_then_keywords():
    emoji = load_emoji()
    assert emoji.texts[0].startswith("grinning face: cheerful, cheery, face, grin")
    assert emoji.codepoints[0] == "1f600"


def test_emoji_as_x_and_y_is_images_and_target():
    emoji = load_emoji("mono")
    images, target = load_emoji("mono", return_X_y=True)
    assert images == emoji.images
    np.testing.assert_array_equal(target, emoji.target)


def test_emoji_describes_its_licenses():
    assert "SIL Open Font License" in load_emoji().DESCR


def test_unknown_emoji_domain_is_told_the_allowed_ones():
    with pytest.raises(ValueError, match=r"domain='sketch' must be one of \['mono', 'noto'\]"):
        load_emoji("sketch")
