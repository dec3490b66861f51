"""100 processes that write into an object store, killed at random requests: nothing is lost, no artefact is half.

``python -m pytest tests/sweeps/test_hundred_kills_in_a_store.py -n 0 -s --timeout 3600``; ``KILLS=10`` is quicker.
The server is moto's S3, over real HTTP, in the process of the test.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.faults.conftest import pictures
from tests.faults.forking import Forks
from tests.storage.conftest import moto_server, s3  # noqa: F401 - fixtures
from tests.storage.kills import kill_until
from tests.storage.servers import FaultyServer

KILLS = int(os.environ.get("KILLS", "100"))


def test_a_hundred_kills(s3: FaultyServer, tmp_path: Path) -> None:  # noqa: F811
    photos = pictures(tmp_path / "photos", 30)
    for path in sorted(photos.iterdir())[::11]:
        path.write_bytes(path.read_bytes()[:200])
    with Forks() as forks:
        killed = kill_until(KILLS, forks, s3, photos, seed=1)
    print(f"{killed} processes killed")
