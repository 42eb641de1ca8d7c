"""Unpack an sdist, put the wheel built from it where there is no checkout, and run an example."""

import os
import subprocess
import sys
import tarfile
import tempfile
import venv
from pathlib import Path

sdist, wheel = (Path(name).resolve() for name in sys.argv[1:])
environment = {**os.environ, "PYTHONPATH": ""}
PLACE = "import lightning_ablationcam; print(lightning_ablationcam.__file__)"

with tempfile.TemporaryDirectory() as folder, tarfile.open(sdist) as archive:
    archive.extractall(folder, filter="data")
    (unpacked,) = Path(folder).iterdir()
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout
    wanted = [name for name in tracked.splitlines() if not name.startswith(".")]
    lacking = [name for name in wanted if not (unpacked / name).is_file()]
    assert not lacking, f"{sdist.name} lacks {lacking}"
    print(f"{sdist.name}: all {len(wanted)} files of the checkout")

    clean = Path(folder) / "clean"
    venv.create(clean, with_pip=True)
    python = str(clean / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", str(wheel)], check=True)
    # What it depends on is that of the environment of the tests, and stands behind its own.
    (own,) = clean.glob("lib/python*/site-packages")
    others = next(path for path in sys.path if path.endswith("site-packages"))
    (own / "others.pth").write_text(others)
    place = subprocess.run(
        [python, "-c", PLACE],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert Path(place.strip()).is_relative_to(clean), place
    example = unpacked / "examples" / "monitor_training.py"
    said = subprocess.run(
        [python, str(example), "--max-epochs", "1", "--accelerator", "cpu"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    assert list(Path(folder).rglob("events.out.tfevents.*")), said.stdout
    print(f"{wheel.name}: an example of {sdist.name} runs with it")
