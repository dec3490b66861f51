"""The user's own code as a model, and that his module is left as it was."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from camcli.errors import ConfigError, ModelError
from camcli.models import Model, load_model

CODE = Path(__file__).with_name("insects.py").read_text("utf-8")


@pytest.fixture(autouse=True)
def own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module in the working directory, forgotten afterwards."""
    (tmp_path / "insects.py").write_text(CODE)
    (tmp_path / "broken.py").write_text("import no_such_package")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "inner.py").write_text(
        "from insects import Net\nclass Makers:\n    net = staticmethod(Net)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in ("insects", "broken", "package", "package.inner", "lazy", "late"):
        sys.modules.pop(name, None)


def made(name: str, **settings: object) -> Model:
    return load_model(f"factory:insects:{name}", **settings)  # type: ignore[arg-type]


def test_a_module_with_the_usual_preprocessing() -> None:
    model = made("plain")
    assert (model.name, model.source, model.weights, model.num_classes) == ("insects:plain", "factory", "factory", 3)
    assert (model.preprocessing.mean, model.preprocessing.resize_to) == ((0.485, 0.456, 0.406), 256)
    assert made("plain", input_size=64).preprocessing.resize_to == 73


def test_the_channels_of_the_first_convolution() -> None:
    pre = made("grey").preprocessing
    assert (pre.channels, len(pre.mean)) == (1, 1)


def test_a_function_in_a_package() -> None:
    assert load_model("factory:package.inner:Makers.net").num_classes == 3


@pytest.mark.parametrize(
    ("name", "size", "mean"),
    [
        ("config", (64, 96), (0.1, 0.2, 0.3)),
        ("preset", (224, 224), (0.485, 0.456, 0.406)),
        ("own", (32, 48), (0.485, 0.456, 0.406)),
        ("transform", (40, 50), (0.0, 0.0, 0.0)),
    ],
)
def test_preprocessing_of_its_own(name: str, size: tuple[int, int], mean: tuple[float, ...]) -> None:
    pre = made(name).preprocessing
    assert ((pre.height, pre.width), pre.mean) == (size, mean)


def test_a_transform_cannot_be_changed_by_flags() -> None:
    with pytest.raises(ConfigError, match="--input-size"):
        made("transform", input_size=64)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("wrong_preprocessing", ModelError, "returned is a int.*Preprocessing, a dict"),
        ("broken_transform", ConfigError, "fails on a plain"),
        ("no_model", ModelError, r"returned a int\. Return a torch\.nn\.Module"),
        ("fails", ModelError, "raised KeyError: 'weights'"),
        ("needs", ModelError, "TypeError.*argument"),
        ("planes", ModelError, "insects has no 'planes'. Did you mean plain"),
        ("NOT_A_FUNCTION", ModelError, "is a int. Name a function"),
        ("SHARED", ModelError, "is a Net. Name a function"),
        ("fixed", ModelError, r"\(1, 3, 224, 224\) fails.*--input-size"),
        ("unnamed", ModelError, r"a: \(1, 3\), b: \(1, 2\).*--output-key"),
    ],
)
def test_factories_that_do_not_work(name: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        made(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("factory:absent:f", "absent cannot be imported.*working directory"),
        ("factory:broken:f", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("factory:insects", "factory:package.module:function"),
        ("factory:", "factory:package.module:function"),
    ],
)
def test_modules_that_are_not_there(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_model(name)


def test_an_input_size_that_fits() -> None:
    assert made("fixed", input_size=32).num_classes == 2


def test_weights_are_the_factorys_business() -> None:
    with pytest.raises(ModelError, match=r"--weights random.*factory"):
        made("plain", weights="random")


@pytest.mark.parametrize(
    ("name", "classes", "settings"),
    [
        ("binary", 1, {}),
        ("pair", 3, {}),
        ("huggingface", 3, {}),
        ("distilled", 3, {}),
        ("unnamed", 2, {"output_key": "b"}),
        ("parallel", 3, {}),
        ("compiled", 3, {}),
        ("half", 3, {}),
        ("bfloat", 3, {}),
    ],
)
def test_outputs_and_wrappers(name: str, classes: int, settings: dict[str, str]) -> None:
    model = made(name, **settings)
    assert model.num_classes == classes
    with model.prepared() as module, torch.no_grad():
        logits = model.logits(module(torch.ones(2, 3, 64, 64)))
    assert logits.shape == (2, classes)
    assert logits.dtype == torch.float32


def test_what_a_model_says_of_its_classes() -> None:
    model = made("huggingface")
    assert model.multi_label
    assert model.class_names is not None
    assert model.class_names.names == ("ant", "bee", "wasp")
    named = made("named").class_names
    assert named is not None
    assert named.find("bee") == 1
    logits = torch.tensor([[0.0, 1.0, 2.0]])
    assert torch.equal(model.probabilities(logits), torch.sigmoid(logits))
    assert torch.equal(model.probabilities(logits, "softmax"), torch.softmax(logits, 1))


def test_heads_of_a_distilled_model() -> None:
    model = made("distilled")
    assert torch.equal(model.logits((torch.zeros(1, 3), torch.full((1, 3), 2.0))), torch.ones(1, 3))


@pytest.mark.parametrize("name", ["features", "headless"])
def test_encoders(name: str) -> None:
    model = made(name)
    assert model.num_classes is None
    with pytest.raises(ModelError, match=r"encoder without a classifier"):
        model.logits(torch.ones(1, 3))


def test_a_checkpoint_for_it(tmp_path: Path) -> None:
    source = made("plain")
    torch.save({"state_dict": {f"model.{k}": v for k, v in source.module.state_dict().items()}}, tmp_path / "c.ckpt")
    model = made("plain", checkpoint=str(tmp_path / "c.ckpt"))
    assert model.weights == "checkpoint c.ckpt (state_dict)"
    assert model.weights_sha256 == source.weights_sha256
    with pytest.raises(ModelError, match="same number of classes"):
        made("two", checkpoint=str(tmp_path / "c.ckpt"))


def test_the_working_directory_is_searched_for_the_factory_alone(tmp_path: Path) -> None:
    before = list(sys.path)
    made("plain")
    assert sys.path == before
    for name in ("insects:missing", "broken:net", "absent:net"):
        with pytest.raises(ModelError):
            load_model(f"factory:{name}")
        assert sys.path == before
    (tmp_path / "colorsys.py").write_text("raise RuntimeError('shadowed')")
    sys.modules.pop("colorsys", None)
    import colorsys

    assert str(tmp_path) not in str(colorsys.__file__)


def test_a_factory_may_import_while_it_runs_and_extend_the_path_itself(tmp_path: Path) -> None:
    (tmp_path / "libs").mkdir()
    (tmp_path / "libs" / "late.py").write_text("from insects import Net")
    (tmp_path / "lazy.py").write_text(
        "import sys\n"
        "def build():\n"
        "    sys.path.append('libs')\n"
        "    from package.inner import Makers\n"
        "    from late import Net\n"
        "    assert Makers.net is Net\n"
        "    return Net()\n"
    )
    before = list(sys.path)
    assert load_model("factory:lazy:build").num_classes == 3
    assert sys.path == [*before, "libs"]


def test_a_model_may_import_more_when_it_runs(tmp_path: Path) -> None:
    (tmp_path / "late_import.py").write_text("FACTOR = 2")
    (tmp_path / "lazy_model.py").write_text(
        "from insects import Net\nclass Lazy(Net):\n    def forward(self, x):\n        if len(x) < 5:\n"
        "            return super().forward(x)\n        import late_import\n"
        "        return super().forward(x) * late_import.FACTOR\n"
    )
    before = list(sys.path)
    try:
        model = load_model("factory:lazy_model:Lazy")
        assert sys.path == before
        with model.prepared() as module, torch.no_grad():
            assert module(torch.ones(5, 3, 64, 64)).shape == (5, 3)  # no pass of so many images was made before
        assert sys.path == before
    finally:
        for name in ("late_import", "lazy_model"):
            sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["shared", "parallel", "compiled", "half"])
def test_the_users_module_is_left_as_it_was(name: str) -> None:
    made(name)
    module = made(name).module
    module.train()
    first, *_ = module.parameters()
    first.requires_grad_(False)
    next(m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)).eval()
    handle = module.register_forward_hook(lambda *_: None)
    before = state_of(module)
    model = load_model(f"factory:insects:{name}")
    object.__setattr__(model, "module", module)
    with model.prepared(), model.prepared():
        assert not any(m.training for m in module.modules())
        assert not any(p.requires_grad for p in module.parameters())
        module(torch.ones(1, 3, 64, 64))
    assert state_of(module) == before
    with pytest.raises(RuntimeError, match="in between"), model.prepared():
        raise RuntimeError("in between")
    assert state_of(module) == before
    handle.remove()


def state_of(module: torch.nn.Module) -> list[object]:
    modes: list[object] = [m.training for m in module.modules()]
    wanted: list[object] = [p.requires_grad for p in module.parameters()]
    hooks: list[object] = [len(m._forward_hooks) + 10 * len(m._forward_pre_hooks) for m in module.modules()]
    values: list[object] = [(t.dtype, t.double().sum().item()) for t in module.state_dict().values()]
    return modes + wanted + hooks + values
