"""What evaluation and training see of an image, and that it depends on nothing else."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from finishline.data.pipeline import evaluation_batches, training_batches
from finishline.errors import UserError
from workloads.imagenet import images, made_up
from workloads.imagenet.dataset import ImageNet
from workloads.imagenet.source import MEAN, STD
from workloads.imagenet.textures import PATTERNS, draw, jpeg

SIZE = 16
NUM_CLASSES = 4
NUM_TRAIN = 36


def encode(image, file_format="JPEG", mode="RGB", **options):
    buffer = io.BytesIO()
    Image.fromarray(image).convert(mode).save(buffer, file_format, **options)
    return buffer.getvalue()


def ramps(height, width):
    """Red is the place from left to right, green from top to bottom, in 256ths of the side."""
    image = np.zeros((height, width, 3), np.float64)
    image[..., 0] = 256 * (np.arange(width) + 0.5) / width - 0.5
    image[..., 1] = 256 * (np.arange(height)[:, None] + 0.5) / height - 0.5
    return image.round().astype(np.uint8)


def mean_difference(a, b):
    return np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).mean()


@pytest.mark.parametrize(("height", "width"), [(256, 320), (500, 375), (1500, 2000), (40, 60)])
def test_evaluation_looks_at_seven_eighths_of_the_short_side(height, width):
    image = images.decode(encode(ramps(height, width), quality=98), images.centre_crop, 224)
    places = (np.asarray(image, np.float64) + 0.5) / 256
    step = 7 / 8 * min(height, width) / 224  # in pixels of the original
    for axis, (channel, side) in enumerate([(1, height), (0, width)]):
        expected = (side / 2 + step * (np.arange(224) - 111.5)) / side
        seen = places[..., channel].mean(axis=1 - axis)
        np.testing.assert_allclose(seen, expected, atol=2 / 256)


def test_evaluation_is_resizing_to_256_then_cropping_to_224():
    rng = np.random.default_rng(0)
    small = Image.fromarray(draw(5, 12, 75, 100, rng))
    content = encode(np.asarray(small.resize((500, 375))), "PNG")
    expected = Image.open(io.BytesIO(content)).resize((341, 256), Image.Resampling.BILINEAR)
    expected = expected.crop((58, 16, 58 + 224, 16 + 224))
    actual = images.decode(content, images.centre_crop, 224)
    # 500 * 256 / 375 is no integer: half a pixel remains between the two.
    assert mean_difference(actual, expected) < 4
    assert mean_difference(actual, expected.transpose(Image.Transpose.ROTATE_180)) > 20


@pytest.mark.parametrize(
    ("file_format", "mode", "tolerance"),
    [("JPEG", "CMYK", 6), ("PNG", "RGB", 0), ("PNG", "P", 20), ("PNG", "RGBA", 0)],
)
def test_other_formats_become_rgb(file_format, mode, tolerance):
    image = draw(3, 12, 60, 80, np.random.default_rng(1))
    expected = images.decode(encode(image, "PNG"), images.centre_crop, SIZE)
    actual = images.decode(encode(image, file_format, mode), images.centre_crop, SIZE)
    assert actual.mode == "RGB"
    assert actual.size == (SIZE, SIZE)
    assert mean_difference(actual, expected) <= tolerance


def test_grey_images_become_rgb():
    image = draw(3, 12, 60, 80, np.random.default_rng(1))
    actual = np.asarray(images.decode(encode(image, mode="L"), images.centre_crop, SIZE))
    assert actual.shape == (SIZE, SIZE, 3)
    assert (actual == actual[..., :1]).all()


@pytest.mark.parametrize("side", [447, 900, 1800, 3700])
def test_decoding_at_a_part_of_the_size_changes_little(side, monkeypatch):
    rng = np.random.default_rng(2)
    small = Image.fromarray(draw(4, 12, 150, 200, rng))
    content = encode(np.asarray(small.resize((side * 4 // 3, side))), quality=95)
    sizes, resize = [], Image.Image.resize

    def crop(width, height):
        return images.Crop(width / 8, height / 8, side * 0.7, side * 0.7)

    def noted_resize(self, *arguments, **options):
        sizes.append(self.size)
        return resize(self, *arguments, **options)

    monkeypatch.setattr(Image.Image, "resize", noted_resize)
    reduced = images.decode(content, crop, 64)
    monkeypatch.setattr(images, "_MIN_DECODED", float("inf"))
    whole = images.decode(content, crop, 64)
    factor = round(sizes[1][1] / sizes[0][1])
    assert factor == {447: 2, 900: 4, 1800: 8, 3700: 8}[side]
    assert sizes[0][1] * 0.7 >= 2 * 64  # never less than twice what is needed
    assert mean_difference(reduced, whole) < 1.0


def test_random_crops_have_the_published_distribution():
    """In a square image every crop of less than half of the area fits at the first attempt."""
    rng = np.random.default_rng(0)
    side = 10_000
    crops = np.array([images.random_crop(side, side, rng) for _ in range(4000)])
    left, top, width, height = crops.T
    assert (left >= 0).all()
    assert (top >= 0).all()
    assert (left + width <= side).all()
    assert (top + height <= side).all()
    area, aspect = width * height / side**2, np.log(width / height)
    assert area.min() > 0.0799
    assert np.abs(aspect).max() < np.log(4 / 3) + 1e-3
    small = area < 0.5
    assert 0.4 < small.mean() < 0.6
    span = 2 * np.log(4 / 3)
    assert stats.kstest(area[small], stats.uniform(0.08, 0.42).cdf).pvalue > 1e-3
    assert stats.kstest(aspect[small], stats.uniform(-span / 2, span).cdf).pvalue > 1e-3
    for place, extent in ((left, width), (top, height)):
        assert stats.kstest(place / (side - extent + 1), stats.uniform().cdf).pvalue > 1e-3


def test_where_no_crop_fits_it_is_the_centre():
    rng = np.random.default_rng(0)
    for width, height in ((1000, 50), (50, 1000)):
        crop = images.random_crop(width, height, rng)
        assert crop == images.centre_crop(width, height)
        assert crop.width == crop.height == 7 / 8 * 50


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 3), (500, 1)])
def test_tiny_images_can_be_cropped(width, height):
    content = encode(np.full((height, width, 3), 90, np.uint8), "PNG")
    rng = np.random.default_rng(0)
    for choose in (images.centre_crop, lambda w, h: images.random_crop(w, h, rng)):
        assert (np.asarray(images.decode(content, choose, SIZE)) == 90).all()


def make_dataset(**options):
    return ImageNet(
        name="set",
        num_examples={"train": NUM_TRAIN, "validation": 8, "test": 8},
        fields={},
        num_classes=NUM_CLASSES,
        image_size=SIZE,
        **options,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A prepared set of which each image has a grey level of its own in the middle."""
    folder = tmp_path_factory.mktemp("imagenet")
    rng = np.random.default_rng(0)
    splits = {
        split: [
            (i % NUM_CLASSES, jpeg(draw(i % NUM_CLASSES, 12, 30 + i, 40, rng)))
            for i in range(count)
        ]
        for split, count in make_dataset().num_examples.items()
    }
    made_up.write_archives(folder, NUM_CLASSES, **splits)
    make_dataset().prepare(folder, folder)
    return folder


def take(folder, count, dataset_options=None, **arguments):
    source = make_dataset(**dataset_options or {}).open(folder, "train")
    batches = training_batches(source, **arguments)
    taken = list(itertools.islice(batches, count))
    batches.close()
    return taken


def joined(batches, name="inputs"):
    return np.concatenate([batch[name] for batch in batches])


AUGMENTED = {"randaugment": True}
MIXED = {"randaugment": True, "mixup_alpha": 0.2}


@pytest.mark.parametrize("num_threads", [0, 1, 3])
@pytest.mark.parametrize("batch_size", [4, 18])
def test_augmentation_depends_on_neither_batches_nor_threads(folder, num_threads, batch_size):
    expected = take(folder, 6, AUGMENTED, batch_size=12, seed=3, num_threads=0)
    actual = take(
        folder, 72 // batch_size, AUGMENTED, batch_size=batch_size, seed=3, num_threads=num_threads
    )
    np.testing.assert_array_equal(joined(actual), joined(expected))
    np.testing.assert_array_equal(joined(actual, "targets"), joined(expected, "targets"))


def test_augmentation_differs_between_epochs_and_seeds(folder):
    whole = {"batch_size": NUM_TRAIN, "num_threads": 0}
    first, second = take(folder, 2, seed=3, **whole)
    (other,) = take(folder, 1, seed=4, **whole)
    for batch in (second, other):
        assert not (batch["inputs"][:, None] == first["inputs"]).all(axis=(2, 3, 4)).any()


def test_half_of_the_images_are_flipped(folder, monkeypatch):
    flipped = []
    monkeypatch.setattr("workloads.imagenet.source.flip", lambda image: flipped.append(1) or image)
    take(folder, 20, batch_size=NUM_TRAIN, seed=0, num_threads=0)
    assert 0.44 < len(flipped) / (20 * NUM_TRAIN) < 0.56


def test_a_resumed_run_sees_the_same(folder):
    whole = take(folder, 7, MIXED, batch_size=10, seed=5)
    resumed = take(folder, 3, MIXED, batch_size=10, seed=5, position=40)
    np.testing.assert_array_equal(joined(resumed), joined(whole[4:]))
    np.testing.assert_array_equal(joined(resumed, "targets"), joined(whole[4:], "targets"))


@pytest.mark.parametrize("world_size", [2, 3])
def test_mixup_does_not_depend_on_the_number_of_devices(folder, world_size):
    arguments = {"batch_size": 12, "seed": 1, "num_threads": 2}
    whole = take(folder, 3, MIXED, **arguments)
    ranks = [
        take(folder, 3, MIXED, rank=rank, world_size=world_size, **arguments)
        for rank in range(world_size)
    ]
    for step, batch in enumerate(whole):
        for name, array in batch.items():
            np.testing.assert_array_equal(joined([r[step] for r in ranks], name), array)


@pytest.mark.parametrize("batch_size", [12, 7])
def test_mixup_mixes_pairs(folder, batch_size):
    arguments = {"batch_size": batch_size, "seed": 2, "num_threads": 0}
    weights = []
    for plain, mixed in zip(
        take(folder, 20, **arguments),
        take(folder, 20, {"mixup_alpha": 0.2}, **arguments),
        strict=True,
    ):
        targets = mixed["targets"]
        assert targets.shape == (batch_size, NUM_CLASSES)
        assert targets.dtype == mixed["inputs"].dtype == np.float32
        np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-6)
        partner = [i ^ 1 if i ^ 1 < batch_size else i for i in range(batch_size)]
        own = np.eye(NUM_CLASSES)[plain["targets"]]
        differ = np.flatnonzero(plain["targets"] != plain["targets"][partner])
        (weight,) = np.unique(targets[differ, plain["targets"][differ]].round(5))
        for name, values in (("targets", own), ("inputs", plain["inputs"])):
            expected = weight * values + (1 - weight) * values[partner]
            np.testing.assert_allclose(mixed[name], expected, atol=1e-4)
        weights.append(weight)
    assert len(set(weights)) > 10
    assert stats.kstest(weights, stats.beta(0.2, 0.2).cdf).pvalue > 1e-3


def test_evaluation_sees_plain_images_and_labels(folder):
    plain = list(evaluation_batches(make_dataset().open(folder, "validation"), 5))
    mixed = list(evaluation_batches(make_dataset(**MIXED).open(folder, "validation"), 5))
    for a, b in zip(plain, mixed, strict=True):
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])
    assert plain[0]["targets"].dtype == np.int32
    np.testing.assert_array_equal(joined(plain, "targets")[:8], np.arange(8) % NUM_CLASSES)
    assert joined(plain, "weights").sum() == 8


def test_inputs_are_standardised(tmp_path):
    colour = (10, 128, 250)
    image = (0, encode(np.full((20, 20, 3), colour, np.uint8), "PNG"))
    made_up.write_archives(tmp_path, 1, train=[image], validation=[image], test=[image])
    dataset = make_dataset()
    dataset.prepare(tmp_path, tmp_path)
    source = dataset.open(tmp_path, "train")
    expected = (np.array(colour) - MEAN) / STD
    for example in (
        source.preprocess(source[0]),
        source.augment(source[0], np.random.default_rng(0)),
    ):
        assert example["inputs"].dtype == np.float32
        np.testing.assert_allclose(example["inputs"][3, 5], expected, rtol=1e-5)


def test_an_image_that_cannot_be_decoded_is_named(tmp_path):
    image = (0, encode(np.full((99, 99, 3), 9, np.uint8))[:400])
    made_up.write_archives(tmp_path, 1, train=[image], validation=[image], test=[image])
    dataset = make_dataset()
    dataset.prepare(tmp_path, tmp_path)
    source = dataset.open(tmp_path, "train")
    with pytest.raises(UserError, match=r"Image 0 in .*train cannot be decoded"):
        source.preprocess(source[0])


def test_each_pattern_is_its_own_mirror_image():
    """Up to shifts and changes of sign: the spectrum's magnitudes are those of the mirror image."""
    places = (np.arange(96) - 47.5) / 8
    y, x = np.meshgrid(places, places, indexing="ij")
    for pattern in PATTERNS:
        spectra = [
            np.abs(np.fft.fft2(pattern(u, y) - pattern(u, y).mean())) for u in (x, x[:, ::-1])
        ]
        scale = spectra[0].max()
        np.testing.assert_allclose(spectra[0] / scale, spectra[1] / scale, atol=0.1)
