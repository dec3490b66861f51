"""Draw docs/pictures/overlays.jpg, the picture of the README: ``python docs/pictures/overlays.py``.

The sheet of a run, as ``cam run sample_images --method gradcam,layercam,eigencam --sheet overlays.jpg`` writes it: one
column a sample photograph, with the prediction that the maps below it explain.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image

import camcli
from camcli.report.sheet import SheetOptions, write_sheet

HERE = Path(__file__).resolve().parent
SAMPLES = HERE.parent.parent / "sample_images"
WIDTH = 1400  # of a page in the browser
METHODS = ("gradcam", "layercam", "eigencam")


def main() -> None:
    """Run the sample photographs and write the sheet."""
    with tempfile.TemporaryDirectory() as folder:
        run = str(Path(folder) / "run")
        camcli.run(camcli.RunConfig(image_path=(str(SAMPLES),), method=METHODS, output_dir=run, save=("none",)))
        write_sheet([run], Path(folder) / "sheet.png", SheetOptions(columns=6))
        with Image.open(Path(folder) / "sheet.png") as sheet:
            sheet.thumbnail((WIDTH, WIDTH))
            sheet.save(HERE / "overlays.jpg", quality=85, optimize=True)


if __name__ == "__main__":
    main()
