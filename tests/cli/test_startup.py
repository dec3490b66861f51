"""What is not needed is not loaded: the time to the first picture is mostly the loading of modules."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ..checks.handmade import blob, item, write_run

SHOW = "import atexit, sys; atexit.register(lambda: print('LOADED', *sorted(sys.modules)));"


def loaded_by(*arguments: str, cwd: Path) -> set[str]:
    """The modules a fresh process has loaded after a command."""
    code = f"{SHOW} from camcli.cli import main; main({list(arguments)!r})"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(root)!r}); {code}"],
        capture_output=True, text=True, cwd=cwd, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("LOADED ")[2].split())


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    loaded = loaded_by("--help", cwd=tmp_path)
    assert "camcli.cli.run" in loaded
    assert not loaded & {"torch", "torchvision", "timm", "numpy", "cv2", "PIL"}


def test_a_run_loads_neither_compiler_nor_model_libraries(tmp_path: Path, samples: Path) -> None:
    """The built-in model needs torch alone; the compiler of torch takes longer to load than torch."""
    loaded = loaded_by("run", str(samples / "tabby"), "--output-dir", str(tmp_path / "out"), cwd=tmp_path)
    assert "torch" in loaded
    assert not loaded & {"torch._dynamo", "torch._inductor", "timm", "torchvision", "huggingface_hub"}
    assert not loaded & {"ray", "s3fs", "gcsfs", "aiohttp", "botocore", "pyarrow", "datasets", "webdataset"}


def test_a_check_of_a_finished_run_does_not_load_pytorch(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [item(i, {"gradcam": blob(0.5, 0.5)}, predicted=i % 2) for i in range(40)])
    loaded = loaded_by("check", str(run), "--fail-on", "never", cwd=tmp_path)
    assert "camcli.checks.rules.shortcut" in loaded
    assert "torch" not in loaded


def test_waiting_threads_of_the_model_do_not_spin(tmp_path: Path) -> None:
    ask = "finally: print(os.environ['OMP_WAIT_POLICY'])"
    code = f"import os; from camcli.cli import main\ntry: main(['--version'])\n{ask}"
    root = str(Path(__file__).resolve().parents[2])
    for own, expected in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):
        environment = {"PYTHONPATH": root, "PATH": ""} | ({"OMP_WAIT_POLICY": own} if own else {})
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
        )
        assert done.stdout.split()[-1] == expected, done.stderr
