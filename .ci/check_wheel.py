"""Check that a wheel holds the package as it stands in the checkout, its licence, and no more."""

import sys
import zipfile
from email.parser import Parser
from pathlib import Path

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
assert "lightning_ablationcam/py.typed" in expected
assert found == expected, f"wheel and checkout differ in {sorted(found ^ expected)}"
assert f"{info}/licenses/LICENSE" in names, sorted(names)
assert metadata["License-Expression"] == "MIT", metadata["License-Expression"]
assert metadata["Requires-Python"] == ">=3.10", metadata["Requires-Python"]
extras = metadata.get_all("Provides-Extra")
assert set(extras) == {"examples", "test", "benchmark"}, extras
print(f"{wheel.name}: {len(found)} files, licence and metadata as they should be")
