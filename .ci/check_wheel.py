"""Check that a wheel holds the package as it stands in the checkout, its licence, and no more.

Then install it without torch, as in an environment that only has TensorBoard, and load the tab.
"""

import subprocess
import sys
import tempfile
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

from lightning_ablationcam.tensorboard_plugin.page import CONTENT_TYPES, FOREIGN

wheel = Path(sys.argv[1])
package = Path("lightning_ablationcam")
with zipfile.ZipFile(wheel) as archive:
    names = set(archive.namelist())
    (metadata_name,) = [name for name in names if name.endswith(".dist-info/METADATA")]
    metadata = Parser().parsestr(archive.read(metadata_name).decode())

info = metadata_name.rsplit("/", 1)[0]
expected = {
    path.as_posix()
    for path in package.rglob("*")
    if path.is_file() and "__pycache__" not in path.parts
}
found = {name for name in names if not name.startswith(info)}
static = "lightning_ablationcam/tensorboard_plugin/static"
needed = {"lightning_ablationcam/py.typed", *(f"{static}/{name}" for name in CONTENT_TYPES)}
assert needed <= expected, f"the checkout lacks {sorted(needed - expected)}"
assert found == expected, f"wheel and checkout differ in {sorted(found ^ expected)}"
for licence in ("LICENSE", *(f"{static}/{name}" for name in FOREIGN.values())):
    assert f"{info}/licenses/{licence}" in names, sorted(names)
assert metadata["License-Expression"] == "MIT", metadata["License-Expression"]
assert metadata["Requires-Python"] == ">=3.10", metadata["Requires-Python"]
extras = metadata.get_all("Provides-Extra")
users = {"cli", "comet", "groups", "lightning", "mlflow", "wandb"}
assert set(extras) == {*users, "examples", "compare", "test", "benchmark"}, extras
print(f"{wheel.name}: {len(found)} files, licence and metadata as they should be")

LOAD_THE_TAB = """
import importlib.util, sys
from importlib.metadata import entry_points
from types import SimpleNamespace
from werkzeug.test import Client

assert importlib.util.find_spec("torch") is None, "this environment has torch"
(entry,) = entry_points(group="tensorboard_plugins", name="ablation_cam")
context = SimpleNamespace(data_provider=None, logdir="", sampling_hints=None)
plugin = entry.load()().load(context)
assert plugin is not None, "the tab cannot be loaded"
apps = plugin.get_plugin_apps()
assert plugin.frontend_metadata().es_module_path == "/index.js"
for name in sys.argv[1:]:
    answer = Client(apps["/" + name]).get("/" + name)
    assert answer.status_code == 200 and answer.data, name
import lightning_ablationcam
lightning_ablationcam.write_report
assert "torch" not in sys.modules
"""

with tempfile.TemporaryDirectory() as folder:
    venv.create(folder, with_pip=True)
    python = str(Path(folder) / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    wanted = [
        requirement
        for requirement in metadata.get_all("Requires-Dist")
        if requirement.startswith(("anyascii", "cmap", "numpy", "pillow", "Pillow", "tensorboard"))
    ]
    assert len(wanted) == 5, wanted
    subprocess.run([*install, *wanted], check=True)
    subprocess.run([*install, "--no-deps", str(wheel)], check=True)
    # Not from the checkout, where the package itself could be imported.
    subprocess.run([python, "-c", LOAD_THE_TAB, *CONTENT_TYPES], check=True, cwd=folder)
print(f"{wheel.name}: the tab loads without torch")
