from __future__ import annotations

from io import BytesIO
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage.color import rgb2lab

from lightning_ablationcam.render import caption as caption_room
from lightning_ablationcam.render import (
    colorize,
    display_size,
    encode_gif,
    encode_jpeg,
    encode_png,
    evolution_strip,
    evolution_strips,
    gallery,
    overlay,
    overview_grid,
    probe_animation,
    probe_picture,
)
from lightning_ablationcam.render.animation import (
    MAX_ANIMATION_FRAMES,
    PROGRESS_HEIGHT,
    frame_milliseconds,
    furniture_colors,
)
from lightning_ablationcam.render.caption import (
    ELLIPSIS,
    caption_block,
    shortened,
    text_width,
    wrapped,
)
from lightning_ablationcam.render.colors import ZERO, signed_color_table
from lightning_ablationcam.render.encode import TOLERANCE
from lightning_ablationcam.render.legend import BAR_HEIGHT, legend_block
from lightning_ablationcam.render.overlays import MAX_OPACITY
from lightning_ablationcam.render.sizes import fit
from lightning_ablationcam.render.style import (
    BACKGROUND,
    CARD,
    GAP,
    LARGE,
    LINE_HEIGHT,
    MARGIN,
    MUTED,
    TEXT,
    TEXT_SIZE,
    TRACK,
)


def flat(value, height=56, width=56):
    return np.full((height, width, 3), value, np.uint8)


def noise(seed, height, width):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def hot_cell(row, column, size=7):
    heat = np.zeros((size, size), np.float32)
    heat[row, column] = 1
    return heat


def change(before, after):
    return np.abs(before.astype(int) - after.astype(int)).sum(axis=2)


def contains(whole, part):
    """Whether ``part`` lies, pixel for pixel, anywhere in ``whole``."""
    height, width = part.shape[:2]
    rows, columns = whole.shape[0] - height + 1, whole.shape[1] - width + 1
    corners = np.argwhere((whole[:rows, :columns] == part[0, 0]).all(axis=2))
    return any(np.array_equal(whole[y : y + height, x : x + width], part) for y, x in corners)


def places_of(whole, part):
    """How often ``part`` lies in ``whole``."""
    views = np.lib.stride_tricks.sliding_window_view(whole, part.shape)
    corners = np.argwhere((views[:, :, 0, 0, 0] == part[0, 0]).all(axis=2))
    return sum(np.array_equal(views[y, x, 0], part) for y, x in corners)


class TestColors:
    def test_lightness_grows_evenly_with_heat(self):
        lightness = rgb2lab(colorize(np.linspace(0, 1, 256)))[:, 0]
        smooth = np.convolve(np.diff(lightness), np.ones(8) / 8, mode="valid")
        assert smooth.min() > 0.5 * smooth.max() > 0

    def test_shape_and_dtype_follow_the_heat(self):
        colors = colorize(np.zeros((2, 3, 4), np.float32))
        assert (colors.shape, colors.dtype) == ((2, 3, 4, 3), np.uint8)

    def test_not_finite_is_cold_and_the_rest_is_clipped(self):
        cold, hot = colorize(np.array([0.0, 1.0]))
        colors = colorize(np.array([np.nan, np.inf, -np.inf, -3.0, 7.0]))
        assert (colors[:4] == cold).all()
        assert (colors[4] == hot).all()


class TestOverlay:
    @pytest.mark.parametrize("value", [0, 90, 255])
    def test_cold_picture_is_unchanged(self, value):
        picture = flat(value)
        assert np.array_equal(overlay(picture, np.zeros((7, 7))), picture)

    @pytest.mark.parametrize("value", [0, 90, 255])
    def test_hot_corner_changes_that_corner_alone(self, value):
        picture = flat(value)
        changed = change(picture, overlay(picture, hot_cell(0, 6)))
        assert changed[:4, -4:].min() > 150
        assert changed[28:].max() == 0
        assert changed[:, :28].max() == 0

    def test_hottest_is_the_scale_at_the_greatest_opacity(self):
        expected = MAX_OPACITY * colorize(np.array(1.0)) + (1 - MAX_OPACITY) * 200
        assert np.abs(overlay(flat(200), np.ones((1, 1)))[0, 0] - expected).max() <= 1

    @pytest.mark.parametrize("value", [0, 90, 255])
    def test_faint_heat_is_a_tint_and_strong_heat_is_unmistakable(self, value):
        faint, middle, hot = (
            change(flat(value), overlay(flat(value), np.full((1, 1), heat)))[0, 0]
            for heat in (0.1, 0.45, 1.0)
        )
        assert 0 < faint <= 40
        assert middle >= 60
        assert hot >= 190

    def test_brighter_with_heat_on_black(self):
        heat = np.linspace(0, 1, 12)
        shown = [overlay(flat(0, 1, 1), np.full((1, 1), value))[0, 0] for value in heat]
        assert (np.diff(rgb2lab(np.array(shown))[:, 0]) > 0).all()

    def test_structure_shows_through_the_hottest_place(self):
        picture = flat(0)
        picture[:, ::2] = 255
        covered = overlay(picture, np.ones((7, 7))).astype(int)
        assert (covered[:, 0] - covered[:, 1]).min() >= 0.15 * 255

    @pytest.mark.parametrize(("row", "column"), [(0, 0), (1, 5), (3, 3), (6, 2)])
    def test_single_cell_lands_on_its_area(self, row, column):
        picture = flat(0, 70, 140)
        weight = change(picture, overlay(picture, hot_cell(row, column))).astype(float)
        y, x = np.unravel_index(weight.argmax(), weight.shape)
        assert row * 10 <= y < row * 10 + 10
        assert column * 20 <= x < column * 20 + 20

    def test_inner_cell_is_centred_to_half_a_pixel(self):
        weight = change(flat(0, 70, 140), overlay(flat(0, 70, 140), hot_cell(2, 4))).astype(float)
        center_y = (weight.sum(axis=1) * np.arange(70)).sum() / weight.sum()
        center_x = (weight.sum(axis=0) * np.arange(140)).sum() / weight.sum()
        assert center_y == pytest.approx(2 * 10 + 4.5, abs=0.5)
        assert center_x == pytest.approx(4 * 20 + 9.5, abs=0.5)

    def test_mirrored_heat_gives_the_mirrored_picture(self):
        heat = np.random.default_rng(0).random((7, 7))
        assert np.array_equal(overlay(flat(90), heat)[:, ::-1], overlay(flat(90), heat[:, ::-1]))

    def test_upsampling_is_smooth(self):
        shown = overlay(flat(0, 224, 224), hot_cell(3, 3)).astype(int)
        assert np.abs(np.diff(shown, axis=0)).max() <= 20

    def test_not_finite_is_cold_without_touching_its_neighbours(self):
        heat = hot_cell(3, 3)
        broken = heat.copy()
        broken[0, 0], broken[6, 6], broken[0, 6] = np.nan, np.inf, -np.inf
        assert np.array_equal(overlay(flat(90), broken), overlay(flat(90), heat))

    def test_heat_finer_than_the_picture(self):
        shown = overlay(flat(0, 4, 4), np.kron(np.eye(2), np.ones((50, 50))))
        assert change(flat(0, 4, 4), shown)[[0, 3], [0, 3]].min() > 150
        assert change(flat(0, 4, 4), shown)[[0, 3], [3, 0]].max() < 20

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_any_float_and_any_memory_layout(self, dtype):
        heat = np.linspace(0, 1, 12).reshape(3, 4).astype(dtype)
        picture = noise(0, 20, 30)
        before = picture.copy()
        planes = np.ascontiguousarray(picture.transpose(2, 0, 1)).transpose(1, 2, 0)
        shown = overlay(picture, heat)
        assert np.array_equal(overlay(planes, np.asfortranarray(heat)), shown)
        assert np.array_equal(picture, before)
        assert shown.flags.writeable

    @pytest.mark.parametrize(
        ("picture", "heat", "error", "message"),
        [
            (flat(0) / 255, np.ones((2, 2)), TypeError, r"picture .*uint8.*got float64 of shape"),
            ([[0]], np.ones((2, 2)), TypeError, r"picture .*got list \[\[0\]\]"),
            (flat(0)[..., 0], np.ones((2, 2)), ValueError, r"\(H, W, 3\).*shape \(56, 56\)"),
            (flat(0).transpose(2, 0, 1), np.ones((2, 2)), ValueError, r"shape \(3, 56, 56\)"),
            (flat(0)[:0], np.ones((2, 2)), ValueError, r"H, W >= 1.*shape \(0, 56, 3\)"),
            (flat(0), np.ones((2, 2), int), TypeError, r"heat .*float.*got int64 of shape"),
            (flat(0), np.ones((1, 2, 2)), ValueError, r"heat .*\(h, w\).*shape \(1, 2, 2\)"),
            (flat(0), np.ones((0, 2)), ValueError, r"heat .*shape \(0, 2\)"),
        ],
    )
    def test_wrong_arguments(self, picture, heat, error, message):
        with pytest.raises(error, match=message):
            overlay(picture, heat)


# Machado, Oliveira and Fernandes 2009, all of one kind of cone missing, in linear RGB.
COLOUR_VISION = {
    "all cones": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def seen_with(kind, rgb):
    """Colours, uint8 (..., 3), as someone with that colour vision sees them, in CIELAB."""
    share = rgb / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    changed = (linear @ np.transpose(COLOUR_VISION[kind])).clip(0, 1)
    curved = 1.055 * changed ** (1 / 2.4) - 0.055
    return rgb2lab(np.where(changed <= 0.0031308, 12.92 * changed, curved))


class TestTwoSigns:
    @pytest.mark.parametrize("value", [0, 90, 255])
    def test_the_neutral_middle_lets_the_picture_through(self, value):
        picture = flat(value)
        assert np.array_equal(overlay(picture, np.zeros((7, 7)), signed=True), picture)

    @pytest.mark.parametrize("kind", COLOUR_VISION)
    @pytest.mark.parametrize("ground", [0, 90, 165, 255])
    def test_for_and_against_are_told_apart_with_every_colour_vision(self, kind, ground):
        picture = flat(ground, 1, 1)
        for strength, apart in ((0.4, 14), (0.6, 28), (0.8, 35), (1.0, 30)):
            shown = [
                seen_with(kind, overlay(picture, np.full((1, 1), sign * strength), signed=True))
                for sign in (-1, 1)
            ]
            assert np.linalg.norm(shown[0] - shown[1]) > apart, strength

    def test_lightness_grows_evenly_to_both_ends(self):
        lightness = rgb2lab(signed_color_table()[None] / 255)[0, :, 0]
        assert lightness[ZERO] == pytest.approx(lightness.min(), abs=0.5)
        assert lightness[ZERO] < 12
        for side in (lightness[:ZERO][::-1], lightness[ZERO + 1 :]):
            smooth = np.convolve(np.diff(side), np.ones(8) / 8, mode="valid")
            assert smooth.min() > 0
            # Where it is nearly transparent, it is nearly black.
            assert smooth[30:].min() > 0.5 * smooth.max()

    def test_both_signs_are_equally_opaque(self):
        black, white = (
            np.stack(
                [
                    overlay(flat(ground, 1, 1), np.full((1, 1), heat), signed=True)[0, 0]
                    for heat in np.linspace(-1, 1, 41)
                ]
            ).astype(int)
            for ground in (0, 255)
        )
        left = (white - black).mean(axis=1)
        assert np.abs(left - left[::-1]).max() <= 3
        assert left[0] == pytest.approx(255 * (1 - MAX_OPACITY), abs=2)

    def test_each_sign_is_in_its_place_and_clipped(self):
        heat = np.zeros((7, 7))
        heat[1, 1], heat[5, 5], heat[1, 5] = 9, -9, np.nan
        shown = overlay(flat(0, 70, 70), heat, signed=True).astype(int)
        assert shown[15, 15, 1] > shown[15, 15, 0] + 20
        assert shown[55, 55, 0] > shown[55, 55, 1] + 20
        assert shown[15, 55].max() <= 5

    def test_strips_share_one_heading_and_one_legend(self):
        pictures = np.stack([noise(seed, 112, 112) for seed in (1, 2, 3)])
        heats = [[hot_cell(3, 3), hot_cell(3, 3)]] * 3
        tile, bar = overlay(pictures[1], heats[1][0]), np.asarray(legend_block("max", CARD, LARGE))
        head = np.asarray(caption_block(["all of them"], CARD, zoom=LARGE))
        named = [[["head"], ["a.b", "corr."]]] * 3
        drawn = evolution_strips(
            pictures, heats, named, [["x"], ["y"], ["z"]], ["all of them"], "max"
        )
        for part, times in ((tile, 2), (bar, 1), (head, 1)):
            assert places_of(drawn, part) == times
        longer = [[["head"], ["encoder.layers.11.mlp", "corr."]]] * 3
        taller = evolution_strips(pictures, heats, longer, [["x"]] * 3, ["all of them"], "max")
        assert taller.shape[0] > drawn.shape[0]
        assert taller.shape[1] == drawn.shape[1]
        with pytest.raises(ValueError, match="titles"):
            evolution_strips(pictures, heats, named, [["x"]], ["all"], "max")

    def test_the_positive_scale_ignores_what_speaks_against(self):
        heat = -hot_cell(3, 3)
        assert np.array_equal(overlay(flat(90), heat), flat(90))

    def test_the_legend_says_both_ends_and_what_they_stand_for(self):
        block = np.asarray(legend_block("largest value of each map", 300, signed=True))
        one_sided = np.asarray(legend_block("maximum", 300))
        assert block.shape[0] == one_sided.shape[0] + LINE_HEIGHT
        bar = block[BAR_HEIGHT // 2].astype(int)
        assert bar[0, 0] > bar[0, 1] + 20, "against"
        assert bar[-1, 1] > bar[-1, 0] + 20, "for"
        assert np.ptp(bar[150]) < 10
        ends = block[BAR_HEIGHT + 2 :][:LINE_HEIGHT]
        against = np.asarray(caption_room.ink("against", 300))
        assert (ends[..., 0] > BACKGROUND[0])[:, :80][against[:, :80] > 128].all()

    def test_every_picture_shows_both(self):
        picture, heat = noise(2, 112, 112), np.linspace(-1, 1, 49).reshape(7, 7)
        tile = overlay(picture, heat, signed=True)
        bar = np.asarray(legend_block("max", 224, signed=True))
        larger = np.kron(picture, np.ones((2, 2, 1), np.uint8))
        drawn = probe_picture(larger, heat, ["a"], "max", signed=True)
        assert contains(drawn, overlay(larger, heat, signed=True))
        assert contains(drawn, bar)
        assert contains(evolution_strip(picture, [heat], [["a"]], ["t"], "max", signed=True), tile)
        pictures, heats = picture[None], heat[None]
        assert contains(overview_grid(pictures, heats, [["a"]], [], "max", signed=True), tile)
        shown = gallery(pictures, heats, [["a"]], "max", signed=True)
        assert contains(shown, overlay(larger, heat, signed=True))
        film = probe_animation(larger // 8, [heat], [["a"]], [1], "max", signed=True)
        still = overlay(larger // 8, heat, signed=True).astype(int)
        frame = frames_of(film)[0][0][MARGIN : MARGIN + 224, MARGIN : MARGIN + 224]
        assert np.abs(frame - still).mean() <= 6


def disc(size=28, radius=0.3):
    y, x = (np.mgrid[0:size, 0:size] + 0.5) / size - 0.5
    return y**2 + x**2 < radius**2


class TestOutlines:
    @pytest.mark.parametrize("value", [0, 60, 128, 200, 255])
    def test_it_is_seen_on_any_ground(self, value):
        shown = overlay(flat(value, 224, 224), np.zeros((7, 7)), region=disc(224))
        row = shown[112, :112, 0].astype(int)
        far = np.abs(row - value)
        assert far.max() > 100
        at = int(far.argmax())
        assert 40 <= at <= 50, "the edge of the disc is at 44.8"
        lightest, darkest = row[40:50].max(), row[40:50].min()
        assert lightest > 230
        assert darkest < 40

    def test_it_is_thin_and_the_rest_is_as_it_was(self):
        picture = noise(3, 224, 224)
        changed = change(picture, overlay(picture, np.zeros((7, 7)), region=disc(224))) > 0
        assert np.count_nonzero(changed[112]) <= 2 * 6
        assert not changed[112, 60:160].any()
        assert not changed[:30].any()

    @pytest.mark.parametrize("size", [4, 28, 128, 500])
    def test_regions_of_any_resolution(self, size):
        region = np.zeros((size, size), bool)
        region[size // 4 : size // 2, size // 4 : size // 2] = True
        changed = change(
            flat(90, 224, 224), overlay(flat(90, 224, 224), np.zeros((1, 1)), region=region)
        )
        rows, columns = np.nonzero(changed > 60)
        assert (rows.min(), columns.min()) == pytest.approx((55, 55), abs=2)
        assert (rows.max(), columns.max()) == pytest.approx((112, 112), abs=2)

    def test_it_is_whole_where_the_region_ends_with_the_picture(self):
        region = np.ones((8, 8), bool)
        region[:, 6:] = False
        shown = overlay(flat(90, 64, 64), np.zeros((1, 1)), region=region)
        for edge in (shown[0, :46], shown[-1, :46], shown[:, 0]):
            assert edge.min() > 200
        assert (shown[5:-5, 5:42] == 90).all()
        assert (shown[:, 52:] == 90).all()

    def test_the_smallest_region_is_not_lost(self):
        region = np.zeros((500, 500), bool)
        region[250, 250] = True
        assert change(flat(90), overlay(flat(90), np.zeros((1, 1)), region=region)).max() > 60

    @pytest.mark.parametrize("region", [None, np.zeros((5, 5), bool), np.ones((5, 5), bool)])
    def test_no_region_changes_nothing(self, region):
        picture = noise(4, 56, 56)
        assert np.array_equal(overlay(picture, np.zeros((1, 1)), region=region), picture)

    def test_every_frame_has_its_own(self):
        picture, heat = noise(2, 112, 112), hot_cell(3, 3)
        regions = [disc(28, 0.2), None, disc(50, 0.4)]
        tiles = [overlay(picture, heat, region=region) for region in regions]
        captions = [["a"], ["b"], ["c"]]
        strip = evolution_strip(picture, [heat] * 3, captions, ["t"], "max", regions=regions)
        pictures, heats = np.stack([picture] * 3), np.stack([heat] * 3)
        grid = overview_grid(pictures, heats, captions, [], "max", regions=regions)
        for tile in tiles:
            assert contains(strip, tile)
            assert contains(grid, tile)
        larger = np.kron(picture, np.ones((2, 2, 1), np.uint8))
        drawn = probe_picture(larger, heat, [], "max", region=regions[0])
        assert contains(drawn, overlay(larger, heat, region=regions[0]))
        row = gallery(pictures, heats, captions, "max", regions=regions)
        film = probe_animation(
            larger // 8, [heat] * 3, captions, [0, 0.5, 1], "max", regions=regions
        )
        for region, frame in zip(regions, frames_of(film)[0], strict=True):
            assert contains(row, overlay(larger, heat, region=region))
            shown = frame[MARGIN : MARGIN + 224, MARGIN : MARGIN + 224]
            assert np.abs(shown - overlay(larger // 8, heat, region=region)).mean() <= 8

    def test_wrong_arguments(self):
        with pytest.raises(TypeError, match=r"region must be a bool .*got float64 of shape"):
            overlay(flat(0), np.ones((2, 2)), region=np.ones((2, 2)))
        with pytest.raises(ValueError, match=r"region must be .*\(H, W\).*shape \(1, 2, 2\)"):
            probe_picture(flat(0), np.ones((2, 2)), [], "", region=np.ones((1, 2, 2), bool))
        with pytest.raises(ValueError, match="regions must have one entry for each of the 1 heats"):
            evolution_strip(flat(0), [np.ones((2, 2))], [["a"]], [], "", regions=[])
        with pytest.raises(TypeError, match=r"regions\[0\] must be a bool array"):
            probe_animation(flat(0), [np.ones((2, 2))], [["a"]], [1], "", regions=[[True]])


class TestSizes:
    @pytest.mark.parametrize(
        ("size", "shown"),
        [
            ((8, 8), (336, 336)),
            ((28, 28), (336, 336)),
            ((32, 32), (320, 320)),
            ((20, 32), (200, 320)),
            ((1, 1), (336, 336)),
            ((224, 224), (224, 224)),
            ((336, 200), (336, 200)),
            ((512, 640), (269, 336)),
            ((3, 4000), (1, 336)),
        ],
    )
    def test_known_sizes(self, size, shown):
        assert display_size(size) == shown

    @given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 400))
    def test_fits_and_keeps_its_shape(self, height, width, longest):
        shown = display_size((height, width), longest)
        scale = max(shown) / max(height, width)
        assert 1 <= min(shown) <= max(shown) <= longest
        assert scale < 1 or (scale == int(scale) and longest < 2 * max(shown))
        assert min(shown) == pytest.approx(max(1, scale * min(height, width)), abs=0.51)

    def test_enlarged_pixels_stay_squares_of_one_colour(self):
        digit = noise(1, 8, 8)
        assert np.array_equal(
            np.asarray(fit(Image.fromarray(digit))), np.kron(digit, np.ones((42, 42, 1), np.uint8))
        )

    def test_reduced_pixels_are_averaged(self):
        stripes = flat(0, 1008, 1008)
        stripes[:, ::3] = 255
        reduced = np.asarray(fit(Image.fromarray(stripes))).astype(int)
        assert reduced.std() < 5
        assert reduced.mean() == pytest.approx(85, abs=10)

    def test_empty(self):
        with pytest.raises(ValueError, match=r"size must be .*got \(0, 5\)"):
            display_size((0, 5))


class TestCaption:
    def test_first_line_stands_out_and_every_line_is_drawn(self):
        block = np.asarray(caption_block(["first", "second", ""], 200)).astype(int)
        first, second, third = block.reshape(3, LINE_HEIGHT, 200, 3)
        assert first.max() > MUTED[2]
        assert second.max() == pytest.approx(MUTED[2], abs=12)
        assert (third == BACKGROUND).all()
        assert first.max() <= max(TEXT)

    def test_letters_are_not_cut_off(self):
        block = np.asarray(caption_block(["ÅÉjgpqy|_()"], 200))
        assert (block[[0, -1]] == BACKGROUND).all()

    @given(st.text(), st.integers(20, 400))
    def test_shortened_is_printable_and_fits(self, text, width):
        line = shortened(text, width)
        assert text_width(line) <= width
        assert line == "" or line.isprintable()

    @given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=200))
    def test_cut_no_more_than_needed(self, text):
        line = shortened(text, 150)
        if line != text:
            assert line.endswith(ELLIPSIS)
            assert text_width(text) > 150
            assert text_width(text[: len(line)] + ELLIPSIS) > 150

    def test_shorter_than_the_width_is_left_alone(self):
        assert shortened("step 400 · epoch 3", 200) == "step 400 · epoch 3"

    @pytest.mark.parametrize("name", ["x" * 10_000, "W" * 10_000, "a b\n" * 5_000])
    def test_very_long_names_end_in_an_ellipsis_inside(self, name):
        assert shortened(name, 224).endswith(ELLIPSIS)
        assert text_width(shortened(name, 224)) > 200

    @given(st.text(st.sampled_from("ab.W_1"), min_size=1, max_size=60), st.integers(40, 120))
    def test_wrapped_names_fit_and_keep_both_ends(self, name, width):
        lines = wrapped(name, width)
        assert all(text_width(line) <= width for line in lines)
        if text_width(name) <= width:
            assert lines == [name]
            return
        first, rest = lines
        assert name.startswith(first)
        assert name.endswith(rest.removeprefix(ELLIPSIS))
        if not rest.startswith(ELLIPSIS):
            assert first + rest == name
        else:
            longer = name[len(name) - len(rest) :]
            assert text_width(ELLIPSIS + longer) > width
        # After a dot, wherever one is on the line.
        if not first.endswith("."):
            assert "." not in first

    def test_wrapped_names_differ_where_names_do(self):
        blocks = [wrapped(f"layer{i}.{j}.conv{k}", 60) for i, j, k in product("12", "01", "12")]
        assert len(set(map(tuple, blocks))) == 8

    def test_control_characters_and_accents(self):
        assert shortened("a\nb\r\n\tc\0d\u202ee", 200) == "a b c d e"
        assert shortened("café Müller", 200) == "cafe Muller"
        assert shortened("<b>&amp;</b>", 200) == "<b>&amp;</b>"

    @pytest.mark.parametrize(
        ("text", "spelled"),
        [
            ("кошка", "koshka"),
            ("猫", "Mao"),
            ("한", "Han"),
            ("قطة", "qth"),
            ("بد\u200cتر", "bdtr"),
            ("कुत्ता", "kutta"),
            ("😀 happy", ":grinning: happy"),
            ("👩🏽\u200d🚀 ❤\ufe0f", ":woman::rocket: :heart:"),
            ("e\u0301 и\u0306 n\u0303", "e y n"),
            ("Straße ½ ≤", "Strasse 1/2 <="),
        ],
    )
    def test_letters_the_font_lacks_are_spelled_in_ascii(self, text, spelled):
        assert shortened(text, 300) == spelled

    def test_letters_the_font_has_are_kept(self):
        kept = "step 400 · 20 °C ± 1 © “a”… ™"
        assert shortened(kept, 300) == kept

    def test_a_word_without_any_spelling_is_visible(self):
        unknown = "\u30fc"
        assert shortened(f"a {unknown}", 200) == f"a {unknown}"
        assert (np.asarray(caption_block([unknown], 50)) != BACKGROUND).any()

    @pytest.mark.parametrize("letter", ["猫", "😀"])
    def test_spelling_ten_thousand_letters_measures_few(self, letter, monkeypatch):
        lengths = []

        def measured(text, zoom=1):
            lengths.append(len(text))
            return text_width(text, zoom)

        monkeypatch.setattr(caption_room, "text_width", measured)
        line = shortened(letter * 10_000, 224)
        assert line.isascii() or line.endswith(ELLIPSIS)
        assert max(lengths) <= 4 * 224 + 1

    def test_a_letter_is_looked_up_once(self, monkeypatch):
        looked_up = []
        caption_room._spelled.cache_clear()
        monkeypatch.setattr(caption_room, "_has_glyph", lambda letter: looked_up.append(letter))
        shortened("ж" * 50, 224)
        shortened("жж", 100)
        caption_room._spelled.cache_clear()
        assert looked_up == ["ж"]

    def test_lone_surrogate_is_no_error(self):
        assert shortened("a\ud800b", 200) == "a b"


class TestLegend:
    def test_bar_runs_from_bare_to_the_hottest_overlay(self):
        bar = np.asarray(legend_block("max", 300))[:BAR_HEIGHT]
        grey = bar[0, 0]
        assert np.ptp(grey.astype(int)) < 10
        ramp = np.linspace(0, 1, 300, dtype=np.float32)[None]
        expected = overlay(np.broadcast_to(grey, (8, 300, 3)).copy(), ramp)
        assert np.abs(bar.astype(int) - expected).max() <= 2

    def test_labels_are_below_the_two_ends(self):
        labels = np.asarray(legend_block("max of this probe", 300))[BAR_HEIGHT:]
        columns = np.flatnonzero((labels != BACKGROUND).any(axis=(0, 2)))
        assert columns[0] < 4
        assert columns[-1] > 295
        assert np.diff(columns).max() > 100

    def test_long_label_stays_clear_of_the_zero(self):
        labels = np.asarray(legend_block("m" * 500, 150))[BAR_HEIGHT:]
        columns = np.flatnonzero((labels != BACKGROUND).any(axis=(0, 2)))
        assert np.diff(columns[columns < 40]).max() >= 6


class TestProbePicture:
    def test_picture_is_on_top_and_text_below(self):
        picture, heat = noise(2, 224, 224), hot_cell(3, 3)
        drawn = probe_picture(picture, heat, ["cat.png", "cat 0.93"], "max")
        inner = drawn[MARGIN:-MARGIN, MARGIN:-MARGIN]
        assert np.array_equal(inner[:224], overlay(picture, heat))
        assert contains(inner[224:], np.asarray(caption_block(["cat.png", "cat 0.93"], 224)))
        assert contains(inner[224:], np.asarray(legend_block("max", 224)))

    def test_heat_stays_smooth_over_enlarged_pixels(self):
        drawn = probe_picture(flat(0, 8, 8), hot_cell(3, 3), [], "max")
        shown = drawn[MARGIN : MARGIN + 336, MARGIN : MARGIN + 336].astype(int)
        assert shown.max() > 150
        assert np.abs(np.diff(shown, axis=1)).max() <= 20

    @pytest.mark.parametrize("size", [(8, 8), (28, 28), (512, 640), (640, 40), (1, 900), (1, 1)])
    def test_never_wider_than_a_card(self, size):
        drawn = probe_picture(flat(200, *size), np.ones((1, 1)), ["x" * 10_000], "y" * 10_000)
        assert drawn.shape[1] <= 350
        assert drawn.shape[1] >= 224
        assert drawn.dtype == np.uint8

    def test_narrow_picture_is_centred(self):
        drawn = probe_picture(flat(255, 300, 30), np.zeros((2, 2)), [], "max")
        columns = np.flatnonzero((drawn[MARGIN + 100] == 255).all(axis=1))
        assert len(columns) == 30
        assert columns[0] == drawn.shape[1] - 1 - columns[-1]

    def test_no_caption_leaves_no_hole(self):
        heights = [
            probe_picture(flat(0, 224, 224), np.zeros((1, 1)), ["x"] * count, "max").shape[0]
            for count in range(4)
        ]
        assert heights[3] - heights[2] == heights[2] - heights[1] == LINE_HEIGHT
        assert heights[1] - heights[0] == LINE_HEIGHT + GAP

    def test_caption_must_be_lines(self):
        with pytest.raises(TypeError, match=r"caption must be a sequence of strings.*'cat'"):
            probe_picture(flat(0), np.ones((1, 1)), "cat", "max")


class TestEvolutionStrip:
    @staticmethod
    def strip(count, picture=None):
        picture = flat(0, 112, 112) if picture is None else picture
        heats = [hot_cell(number % 7, 6 - number % 7) for number in range(count)]
        captions = [[f"step {number}", "cat 0.5"] for number in range(count)]
        return evolution_strip(picture, heats, captions, ["title"], "max"), heats, captions

    def test_every_frame_in_reading_order_after_the_bare_picture(self):
        picture = noise(3, 112, 112)
        strip, heats, captions = self.strip(8, picture)
        thumbnail = np.asarray(fit(Image.fromarray(picture), 56))
        assert np.array_equal(strip[MARGIN : MARGIN + 56, MARGIN : MARGIN + 56], thumbnail)
        places = []
        for heat, caption in zip(heats, captions, strict=True):
            tile = np.vstack([overlay(picture, heat), np.full((4, 112, 3), BACKGROUND, np.uint8)])
            tile = np.vstack([tile, np.asarray(caption_block(caption, 112, zoom=LARGE))])
            corners = np.argwhere((strip == tile[0, 0]).all(axis=2))
            places += [
                (y, x)
                for y, x in corners
                if np.array_equal(strip[y : y + tile.shape[0], x : x + 112], tile)
            ]
        assert len(places) == 8
        assert places == sorted(places)
        assert [len({y for y, _ in places}), len({x for _, x in places})] == [2, 4]

    def test_up_to_four_frames_in_one_row(self):
        shapes = [self.strip(count)[0].shape for count in range(1, 9)]
        assert len({height for height, _, _ in shapes[:4]}) == 1
        assert len({height for height, _, _ in shapes[4:]}) == 1
        assert shapes[3][1] == shapes[7][1] == max(width for _, width, _ in shapes)
        assert shapes[4][0] > shapes[3][0]
        assert shapes[7][1] <= 560

    def test_title_and_legend_are_drawn(self):
        strip = self.strip(4)[0]
        width = strip.shape[1] - 2 * MARGIN
        title = np.asarray(caption_block(["title"], width - 56 - 8, zoom=LARGE))
        assert contains(strip[: MARGIN + title.shape[0]], title)
        assert contains(strip, np.asarray(legend_block("max", width, LARGE)))

    def test_text_is_legible_in_a_card(self):
        widest = self.strip(8)[0].shape[1]
        assert round(TEXT_SIZE * LARGE) * CARD / widest >= 10

    def test_small_digits(self):
        picture = noise(4, 8, 8)
        strip = self.strip(2, picture)[0]
        assert contains(strip, np.kron(picture, np.ones((7, 7, 1), np.uint8)))

    @pytest.mark.parametrize("count", [0, 9])
    def test_number_of_frames(self, count):
        with pytest.raises(ValueError, match=f"heats must hold 1 to 8 maps, got {count}"):
            self.strip(count)

    def test_wrong_arguments(self):
        heats = [np.ones((2, 2)), np.ones(2)]
        with pytest.raises(ValueError, match=r"captions .*each of the 2 heats, got 1"):
            evolution_strip(flat(0), heats, [["a"]], [], "max")
        with pytest.raises(ValueError, match=r"heats\[1\] must be .*got float64 of shape \(2,\)"):
            evolution_strip(flat(0), heats, [["a"], ["b"]], [], "max")
        with pytest.raises(TypeError, match=r"captions\[0\] must be .*'a'"):
            evolution_strip(flat(0), heats[:1], ["a"], [], "max")


class TestOverviewGrid:
    @staticmethod
    def grid(count, height=112, width=112, title=("title",)):
        pictures = np.stack([noise(seed, height, width) for seed in range(count)])
        heats = np.stack([hot_cell(seed % 7, seed % 5) for seed in range(count)])
        captions = [[f"probe {seed}", "cat 0.5"] for seed in range(count)]
        return overview_grid(pictures, heats, captions, title, "max"), pictures, heats, captions

    @pytest.mark.parametrize("count", [1, 3, 16])
    def test_every_probe_with_its_overlay_and_caption(self, count):
        grid, pictures, heats, captions = self.grid(count)
        for picture, heat, caption in zip(pictures, heats, captions, strict=True):
            seam = np.full((112, 2, 3), BACKGROUND, np.uint8)
            pair = np.hstack([picture, seam, overlay(picture, heat)])
            gap = np.full((4, 226, 3), BACKGROUND, np.uint8)
            text = np.asarray(caption_block(caption, 226))
            assert contains(grid, np.vstack([pair, gap, text]))
        assert contains(grid, np.asarray(legend_block("max", CARD)))

    @pytest.mark.parametrize("count", [4, 6, 9, 12, 16, 25, 32, 48, 64])
    def test_about_four_to_three(self, count):
        height, width, _ = self.grid(count, 28, 28)[0].shape
        assert 0.8 <= width / height <= 1.9

    @pytest.mark.parametrize("size", [(8, 8), (60, 200), (200, 20), (1, 1)])
    def test_other_shapes(self, size):
        grid, pictures, _, _ = self.grid(5, *size)
        for picture in pictures:
            assert contains(grid, np.asarray(fit(Image.fromarray(picture), 112)))

    def test_title_is_optional(self):
        assert self.grid(4, title=())[0].shape[0] < self.grid(4)[0].shape[0]

    def test_wrong_arguments(self):
        pictures, heats = np.zeros((2, 8, 8, 3), np.uint8), np.zeros((2, 2, 2))
        with pytest.raises(ValueError, match=r"pictures must hold at least one"):
            overview_grid(pictures[:0], heats[:0], [], [], "max")
        with pytest.raises(ValueError, match=r"heats .*each of the 2 pictures, got 1"):
            overview_grid(pictures, heats[:1], [["a"], ["b"]], [], "max")
        with pytest.raises(ValueError, match=r"captions .*each of the 2 pictures, got 3"):
            overview_grid(pictures, heats, [["a"]] * 3, [], "max")
        with pytest.raises(TypeError, match=r"pictures\[0\] must be a uint8 .*got float32"):
            overview_grid(pictures.astype(np.float32), heats, [["a"]] * 2, [], "max")
        with pytest.raises(TypeError, match=r"title must be .*'step 3'"):
            overview_grid(pictures, heats, [["a"]] * 2, "step 3", "max")


def frames_of(file):
    """The frames of a GIF as a viewer shows them, and how long each is shown."""
    frames, milliseconds = [], []
    with Image.open(BytesIO(file)) as opened:
        for number in range(opened.n_frames):
            opened.seek(number)
            frames.append(np.asarray(opened.convert("RGB")).astype(int))
            milliseconds.append(opened.info["duration"])
    return frames, milliseconds


def global_table(file):
    return bool(file[10] & 0x80)


def local_tables(file):
    """Whether each frame of a GIF brings a palette of its own."""
    place, found = 13 + 3 * 2 ** ((file[10] & 7) + 1), []
    while file[place] != 0x3B:
        if file[place] == 0x21:
            place += 2
        else:
            flags = file[place + 9]
            found.append(bool(flags & 0x80))
            place += 11 + (3 * 2 ** ((flags & 7) + 1) if found[-1] else 0)
        while file[place]:
            place += file[place] + 1
        place += 1
    return found


class TestProbeAnimation:
    @staticmethod
    def film(count, picture=None, progress=None, caption=("p", "step")):
        picture = noise(6, 224, 224) // 8 + 100 if picture is None else picture
        heats = [hot_cell(number % 7, number * 3 % 7) for number in range(count)]
        captions = [[f"{line} {number}" for line in caption] for number in range(count)]
        progress = progress or [(number + 1) / count for number in range(count)]
        file = probe_animation(picture, heats, captions, progress, "max")
        return frames_of(file), picture, heats, captions

    @pytest.mark.parametrize("count", [2, 9, MAX_ANIMATION_FRAMES])
    def test_every_pass_is_a_frame_like_the_still_picture(self, count):
        (frames, _), picture, heats, captions = self.film(count)
        assert len(frames) == count
        for frame, heat, caption in zip(frames, heats, captions, strict=True):
            still = probe_picture(picture, heat, caption, "max").astype(int)
            top = MARGIN + 224
            assert np.abs(frame[:top] - still[:top]).max() <= 48
            assert np.abs(frame[:top] - still[:top]).mean() <= 6
            below = frame[top + GAP // 2 + PROGRESS_HEIGHT :]
            assert np.abs(below - still[top:]).max() <= 48
            assert np.abs(below - still[top:]).mean() <= 2

    def test_it_loops_for_ever_and_rests_at_the_end(self):
        file = probe_animation(
            flat(9), [hot_cell(0, 0)] * 3, [[str(n)] for n in "abc"], [0] * 3, ""
        )
        with Image.open(BytesIO(file)) as opened:
            assert (opened.format, opened.info["loop"]) == ("GIF", 0)
        _, milliseconds = frames_of(file)
        assert milliseconds == frame_milliseconds(3) == [600, 600, 2600]

    @given(st.integers(1, MAX_ANIMATION_FRAMES))
    def test_a_turn_is_neither_a_flicker_nor_a_wait(self, count):
        shown = frame_milliseconds(count)
        assert len(shown) == count
        assert all(each % 10 == 0 and 200 <= each <= 600 for each in shown[:-1])
        assert sum(shown) <= 9_000
        assert shown[-1] >= 2_200

    def test_the_bar_shows_how_far_the_training_is(self):
        (frames, _), *_ = self.film(4, progress=[-1, 0.25, 0.75, 7])
        bars = [frame[MARGIN + 224 + GAP // 2 : MARGIN + 224 + GAP // 2 + 4] for frame in frames]
        for bar, filled in zip(bars, [0, 56, 168, 224], strict=True):
            inner = bar[:, MARGIN : MARGIN + 224]
            assert np.abs(inner[:, :filled] - TEXT).max(initial=0) <= 8
            assert np.abs(inner[:, filled:] - TRACK).max(initial=0) <= 8

    def test_a_single_pass_is_a_still_picture(self):
        (frames, _), *_ = self.film(1)
        assert len(frames) == 1

    @pytest.mark.parametrize("size", [(8, 8), (28, 28), (640, 512), (100, 900), (1, 1)])
    def test_every_picture_fits_a_card(self, size):
        (frames, _), *_ = self.film(2, noise(0, *size), caption=("x" * 10_000, "猫"))
        assert frames[0].shape[1] == 224 + 2 * MARGIN
        assert frames[0].shape[0] < 360

    def test_captions_may_differ_in_their_number_of_lines(self):
        heats, done = [hot_cell(0, 0), hot_cell(6, 6)], [0.5, 1]
        frames, _ = frames_of(probe_animation(flat(0), heats, [["a"], ["a", "b"]], done, "max"))
        assert frames[0].shape == frames[1].shape

    def test_colours_of_the_furniture_fit_a_palette(self):
        colors = furniture_colors()
        assert (colors.dtype, colors.shape[1]) == (np.uint8, 3)
        assert 20 <= len(np.unique(colors, axis=0)) <= 64
        for color in (BACKGROUND, TEXT, MUTED, TRACK):
            assert (colors == color).all(axis=1).any()

    @pytest.mark.parametrize("count", [0, MAX_ANIMATION_FRAMES + 1])
    def test_number_of_frames(self, count):
        with pytest.raises(ValueError, match=f"heats must hold 1 to 32 maps, got {count}"):
            probe_animation(flat(0), [np.ones((2, 2))] * count, [], [], "max")

    def test_wrong_arguments(self):
        heats = [np.ones((2, 2)), np.ones(2)]
        with pytest.raises(ValueError, match=r"captions .*each of the 2 heats, got 1"):
            probe_animation(flat(0), heats, [["a"]], [0, 1], "max")
        with pytest.raises(ValueError, match=r"progress .*each of the 2 heats, got 1"):
            probe_animation(flat(0), heats, [["a"], ["b"]], [1], "max")
        with pytest.raises(ValueError, match=r"heats\[1\] must be .*got float64 of shape \(2,\)"):
            probe_animation(flat(0), heats, [["a"], ["b"]], [0, 1], "max")
        with pytest.raises(TypeError, match=r"captions\[0\] must be .*'a'"):
            probe_animation(flat(0), heats[:1], ["a"], [1], "max")
        with pytest.raises(TypeError, match=r"picture must be a uint8"):
            probe_animation(flat(0) / 2, heats[:1], [["a"]], [1], "max")


class TestGif:
    @staticmethod
    def decoded(frames, milliseconds=None, colors=()):
        kept = np.array(colors, np.uint8).reshape(-1, 3)
        file = encode_gif(frames, milliseconds or [100] * len(frames), kept)
        decoded, shown_for = frames_of(file)
        if milliseconds is None:
            # Pillow writes frames that look alike as one that is shown for longer.
            pairs = zip(decoded, shown_for, strict=True)
            decoded = [frame for frame, shown in pairs for _ in range(shown // 100)]
        return decoded, shown_for, file

    def test_few_colours_are_exact(self):
        frames = [flat(grey) for grey in (0, 200, 100)]
        frames[1][:9] = (255, 0, 0)
        decoded, milliseconds, _ = self.decoded(frames, [100, 250, 900], [(255, 0, 0)])
        assert milliseconds == [100, 250, 900]
        for shown, frame in zip(decoded, frames, strict=True):
            assert np.abs(shown - frame).max() <= 4

    def test_small_changes_wait_until_they_are_seen_or_the_end(self):
        assert TOLERANCE == 6
        levels = [101, 107, 108, 104, 112, 104]
        colors = [(level,) * 3 for level in levels]
        decoded, _, _ = self.decoded([flat(level) for level in levels], None, colors)
        shown = [frame[0, 0, 0] for frame in decoded]
        assert shown[0] == pytest.approx(101, abs=2)
        assert shown[1] == shown[0]
        assert shown[2] == pytest.approx(108, abs=2)
        assert shown[2] == shown[3] == shown[4]
        assert shown[-1] == pytest.approx(104, abs=2)

    @pytest.mark.parametrize("channel", [0, 1, 2])
    def test_a_change_of_one_channel_is_seen(self, channel):
        frames = [flat(100) for _ in range(3)]
        frames[1][..., channel] = frames[2][..., channel] = 140
        decoded, _, _ = self.decoded(frames)
        assert np.abs(decoded[1] - frames[1]).max() <= 4

    def test_slow_changes_do_not_add_up(self):
        frames = [flat(100 + 2 * number) for number in range(40)]
        decoded, _, _ = self.decoded(frames, None, [frame[0, 0] for frame in frames])
        for shown, frame in zip(decoded, frames, strict=True):
            assert np.abs(shown - frame).max() <= TOLERANCE + 4

    def test_what_stands_still_costs_nothing_and_does_not_flicker(self):
        still = noise(7, 224, 224)
        frames = [still.copy() for _ in range(8)]
        for number, frame in enumerate(frames):
            frame[:4, : 28 * (number + 1)] = 255
        decoded, _, film = self.decoded(frames)
        _, _, one = self.decoded(frames[:1])
        assert len(film) < 1.1 * len(one)
        assert all(np.array_equal(shown[4:], decoded[0][4:]) for shown in decoded)

    def test_one_palette_for_all_frames(self):
        frames = [noise(seed, 32, 32) for seed in range(3)]
        *_, file = self.decoded(frames)
        assert global_table(file)
        assert local_tables(file) == [False] * 3

    def test_wanted_colours_are_kept_beside_many_others(self):
        frames = [noise(seed, 64, 64) // 2 for seed in range(2)]
        for frame in frames:
            frame[0, 0] = (255, 255, 255)
        decoded, _, _ = self.decoded(frames, None, [(255, 255, 255)])
        assert decoded[1][0, 0].min() >= 251

    @pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (255, 0, 255)])
    def test_no_colour_is_taken_for_no_change(self, color):
        frames = [flat(128) for _ in range(3)]
        frames[1][:9] = color
        frames[2][9:] = color
        decoded, _, _ = self.decoded(frames, None, [color, (128, 128, 128)])
        for shown, frame in zip(decoded, frames, strict=True):
            assert np.abs(shown - frame).max() <= 4

    def test_frames_are_left_as_they_were(self):
        frames = [noise(seed, 16, 16) for seed in range(3)]
        before = [frame.copy() for frame in frames]
        assert self.decoded(frames)[2] == self.decoded(frames)[2]
        assert all(np.array_equal(a, b) for a, b in zip(frames, before, strict=True))

    def test_wrong_arguments(self):
        black = np.zeros((1, 3), np.uint8)
        with pytest.raises(ValueError, match=r"one shape.*frames\[1\] of \(9, 9, 3\)"):
            encode_gif([flat(0), flat(0, 9, 9)], [1, 1], black)
        with pytest.raises(ValueError, match=r"milliseconds .*each of the 2 frames, got 1"):
            encode_gif([flat(0), flat(0)], [100], black)
        with pytest.raises(ValueError, match=r"frames must hold at least one .*got none"):
            encode_gif([], [], black)
        with pytest.raises(TypeError, match=r"frames\[0\] must be a uint8"):
            encode_gif([flat(0) / 2], [100], black)


class TestEncode:
    def test_png_is_exact(self):
        picture = noise(5, 20, 30)
        assert np.array_equal(np.asarray(Image.open(BytesIO(encode_png(picture)))), picture)

    def test_jpeg_is_close_at_grey_edges_and_in_smooth_colours(self):
        blocks = np.kron(np.eye(8, dtype=np.uint8) * 255, np.ones((9, 9), np.uint8))
        picture = overlay(np.repeat(blocks[..., None], 3, axis=2), hot_cell(3, 3))
        decoded = Image.open(BytesIO(encode_jpeg(picture)))
        assert decoded.format == "JPEG"
        assert np.abs(np.asarray(decoded).astype(int) - picture).mean() < 4

    def test_wrong_arguments(self):
        with pytest.raises(ValueError, match=r"picture must be .*shape \(4, 4\)"):
            encode_jpeg(np.zeros((4, 4), np.uint8))


def test_same_input_gives_the_same_bytes_and_leaves_the_input_alone():
    picture, heats = noise(6, 64, 48), [hot_cell(row, 2) for row in range(5)]
    before = picture.copy()

    def draw():
        captions = [["a", "b"]] * 5
        pictures = [
            probe_picture(picture, heats[0], ["a"], "max"),
            evolution_strip(picture, heats, captions, ["t"], "max"),
            overview_grid(np.stack([picture] * 5), np.stack(heats), captions, ["t"], "max"),
        ]
        return [encode_jpeg(drawn) + encode_png(drawn) for drawn in pictures]

    first = draw()
    # Writing into a picture must not change what a cache returns next.
    probe_picture(picture, heats[0], ["a"], "max")[:] = 0
    assert draw() == first
    assert np.array_equal(picture, before)


class TestGallery:
    def test_pictures_stand_above_their_overlays(self):
        pictures = np.stack([flat(90, 224, 224), flat(180, 224, 224)])
        heats = np.stack([hot_cell(1, 1), hot_cell(5, 5)])
        drawn = gallery(pictures, heats, [["cat", "probability 90%"], ["dog"]], "maximum")
        for number, value in enumerate((90, 180)):
            left = MARGIN + number * (224 + GAP)
            plain = drawn[MARGIN : MARGIN + 224, left : left + 224]
            assert (plain == value).all()
            heated = drawn[MARGIN + 224 + GAP :][:224, left : left + 224]
            assert (heated[:100] != value).any() == (number == 0)
            assert (heated[130:] != value).any() == (number == 1)

    def test_seven_take_two_rows(self):
        pictures, heats = np.zeros((7, 8, 8, 3), np.uint8), np.ones((7, 2, 2))
        six = gallery(pictures[:6], heats[:6], [["a"]] * 6, "maximum")
        seven = gallery(pictures, heats, [["a"]] * 7, "maximum")
        assert seven.shape[1] == six.shape[1]
        assert seven.shape[0] > 1.8 * six.shape[0]

    def test_what_does_not_fit_is_said(self):
        with pytest.raises(ValueError, match="captions must have one entry for each of the 1 pict"):
            gallery(np.zeros((1, 8, 8, 3), np.uint8), np.ones((1, 2, 2)), [], "maximum")
        with pytest.raises(ValueError, match="at least one picture"):
            gallery(np.zeros((0, 8, 8, 3), np.uint8), np.ones((0, 2, 2)), [], "maximum")
