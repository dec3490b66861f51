"""``--sample``: uniform, the same for the same seed, in order, of each class."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from camcli.config.parse import SampleSize, parse_sample
from camcli.errors import ConfigError, SourceError
from camcli.images import Sampler, Sources


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """An ImageFolder: three classes of 4, 6 and 10 images."""
    for name, count in (("cat", 4), ("cup", 6), ("dog", 10)):
        (tmp_path / "val" / name).mkdir(parents=True)
        for number in range(count):
            (tmp_path / "val" / name / f"{number}.jpg").touch()
    return tmp_path / "val"


def chosen(path: Path, count: int, per_class: bool = False, seed: int = 0, limit: int | None = None) -> list[str]:
    sources = Sources([str(path)], sample=Sampler(count, per_class, seed), limit=limit)
    images = [entry.image for entry in sources]
    assert [entry.image for entry in sources] == images, "every iteration gives the same"
    assert [entry.ordinal for entry in sources] == list(range(len(images)))
    assert sources.count() == len(images)
    return images


def test_n_of_all_in_the_order_of_the_inputs_and_the_same_for_the_same_seed(folders: Path) -> None:
    every = [entry.image for entry in Sources([str(folders)])]
    images = chosen(folders, 7)
    assert len(images) == 7
    assert images == [image for image in every if image in images]
    assert images == chosen(folders, 7)
    assert images != chosen(folders, 7, seed=1)
    assert set(chosen(folders, 6)) < set(images), "a larger sample contains the smaller one"
    assert chosen(folders, 99) == every
    assert chosen(folders, 7, limit=3) == images[:3]


def test_a_new_file_replaces_at_most_one_image(folders: Path) -> None:
    before = set(chosen(folders, 7))
    (folders / "ant").mkdir()
    (folders / "ant" / "0.jpg").touch()
    assert len(before - set(chosen(folders, 7))) <= 1


def test_every_image_is_as_likely_as_any_other(folders: Path) -> None:
    counts = Counter(image for seed in range(400) for image in chosen(folders, 5, seed=seed))
    assert len(counts) == 20
    # 400 draws of 5 of 20: 100 each on average, with a standard deviation of 8.7.
    assert max(abs(count - 100) for count in counts.values()) < 4.5 * np.sqrt(400 * 0.25 * 0.75)


def test_n_of_each_folder(folders: Path) -> None:
    images = chosen(folders, 5, per_class=True)
    assert Counter(image.split("/")[0] for image in images) == {"cat": 4, "cup": 5, "dog": 5}
    assert images == sorted(images)


def test_labels_come_before_folders_and_images_with_neither_are_a_class(tmp_path: Path) -> None:
    rows = [f"{number}.jpg,{('a', 'b', '')[number % 3]}" for number in range(30)]
    (tmp_path / "list.csv").write_text("image,label\n" + "\n".join(rows) + "\n")
    images = chosen(tmp_path / "list.csv", 4, per_class=True)
    assert Counter(int(image.removesuffix(".jpg")) % 3 for image in images) == {0: 4, 1: 4, 2: 4}


def test_repeated_names_are_images_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("image\n" + "x.jpg\n" * 20)
    images = chosen(tmp_path / "list.csv", 6)
    assert len(set(images)) == 6
    assert all(image.startswith("x.jpg") for image in images)


def test_classes_that_are_not_known_are_refused(folders: Path) -> None:
    with pytest.raises(SourceError, match=r"--sample 5/class: the images have no labels and are all in one folder"):
        chosen(folders / "cat", 5, per_class=True)


def test_the_setting() -> None:
    assert parse_sample(None) is None
    assert parse_sample("100") == SampleSize(100, per_class=False)
    assert parse_sample("5/class") == SampleSize(5, per_class=True)
    for text in ("0", "-1", "x", "5/", "5/classes", "/class", "1.5"):
        with pytest.raises(ConfigError, match=r"give N or N/class, for example 100 or 5/class"):
            parse_sample(text)
