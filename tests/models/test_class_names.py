"""Class names: the table, finding a class by whatever it is called, files of names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from torchvision.models import ResNet50_Weights

from camcli.errors import ConfigError, TargetError
from camcli.models import ClassNames, read_class_names
from camcli.models import imagenet as table
from camcli.models.names import names_from


@pytest.fixture(scope="module")
def imagenet() -> ClassNames:
    return ClassNames.imagenet()


def test_the_table_is_what_torchvision_and_timm_say(imagenet: ClassNames) -> None:
    assert Path(table.__file__).with_name("imagenet1k.tsv").read_text("utf-8") == table.make_table()
    assert imagenet.names == tuple(ResNet50_Weights.IMAGENET1K_V1.meta["categories"])


def test_every_name_finds_its_class_but_the_two_that_stand_for_two(imagenet: ClassNames) -> None:
    unclear = []
    for index, name in enumerate(imagenet.names):
        try:
            assert imagenet.find(name) == index
        except TargetError:
            unclear.append(name)
    assert unclear == ["crane", "maillot"]


def test_every_wordnet_id_finds_its_class(imagenet: ClassNames) -> None:
    assert imagenet.ids is not None
    assert [imagenet.find(i) for i in imagenet.ids] == list(range(1000))


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("tench", 0),
        ("Tench, Tinca tinca", 0),
        ("Tinca tinca", 0),
        ("tench,Tinca_tinca", 0),
        ("n01440764", 0),
        ("N01440764", 0),
        ("EGYPTIAN_CAT", 285),
        ("egyptian-cat", 285),
        (" Egyptian  cat ", 285),
        ("tabby cat", 281),
        ("T-shirt", 610),
        ("crane bird", 134),
        ("Cardigan", 264),
        ("cardigan", 474),
        ("missile", 657),  # a synonym of 744 as well: the name proper wins
        ("maillot, tank suit", 639),
    ],
)
def test_finds(imagenet: ClassNames, text: str, index: int) -> None:
    assert imagenet.find(text) == index


@pytest.mark.parametrize(
    ("text", "indices"),
    [
        ("crane", "134, 517"),
        ("Maillot", "638, 639"),
        ("CARDIGAN", "264, 474"),
        ("panther", "286, 290"),
        ("wagon", "436, 734"),
    ],
)
def test_ambiguous_names_give_the_indices(imagenet: ClassNames, text: str, indices: str) -> None:
    with pytest.raises(TargetError, match=rf"ambiguous, give the index: {indices}\."):
        imagenet.find(text)


def test_unknown_names_give_near_misses(imagenet: ClassNames) -> None:
    with pytest.raises(TargetError, match=r"no class is called 'Persan cat'.*Persian cat"):
        imagenet.find("Persan cat")
    with pytest.raises(TargetError, match=r"no class is called 'qqqqqqq'.$"):
        imagenet.find("qqqqqqq")
    with pytest.raises(TargetError):
        imagenet.find("")


def test_a_name_for_every_index() -> None:
    names = ClassNames(["cat", ""])
    assert [names.name(i) for i in range(3)] == ["cat", "1", "2"]
    with pytest.raises(IndexError):
        names.name(-1)


@pytest.mark.parametrize(
    "text",
    [
        "cat\nhot dog\nfox\n",
        "\ufeffcat\r\nhot dog\r\nfox",
        json.dumps(["cat", "hot dog", "fox"]),
        json.dumps({"2": "fox", "0": "cat", "1": "hot dog"}),
        json.dumps({"fox": 2, "cat": 0, "hot dog": 1}),
        json.dumps({"0": ["n0", "cat"], "1": ["n1", "hot dog"], "2": ["n2", "fox"]}),
    ],
)
def test_files_of_names(tmp_path: Path, text: str) -> None:
    file = tmp_path / "names.txt"
    file.write_bytes(text.encode())
    names = read_class_names(file)
    assert names.names == ("cat", "hot dog", "fox")
    assert names.find("hot_dog") == 1
    assert names.ids is None or names.find("n2") == 2


@pytest.mark.parametrize("text", ["", "[]", "{", '{"0": "a", "2": "b"}', "[1, 2]", '{"0": {"a": 1}}', '{"x": "y"}'])
def test_files_that_are_no_names(tmp_path: Path, text: str) -> None:
    file = tmp_path / "names.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"--class-names .*names\.json"):
        read_class_names(file)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x81")
    for name in ("absent", "binary", "."):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_class_names(tmp_path / name)


def test_names_beside_a_model() -> None:
    assert names_from({0: "a", 1: "b"}, 2) == ClassNames(["a", "b"])
    assert names_from({"b": 1, "a": 0}, 2) == ClassNames(["a", "b"])
    assert names_from(("a", "b"), 2) == ClassNames(["a", "b"])
    assert names_from(["a", "b"], 3) is None
    assert names_from({"a": "b"}, 1) is None
    assert names_from([1, 2], 2) is None
