"""Makes the stubs of package ``sessiond.v1`` from the schema while the package is built, so that they cannot go stale.

The schema is the repository's ``proto/``; a source distribution carries a copy of it.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


def schema_root(package: Path) -> Path:
    """The folder that holds ``sessiond/v1``."""
    for root in (package / "proto", package.parent.parent / "proto"):
        if (root / "sessiond" / "v1").is_dir():
            return root
    raise FileNotFoundError("no proto/sessiond/v1 beside this package or in its repository")


def generate(root: Path, out: Path) -> None:
    """Writes messages and their types to ``out/sessiond/v1``."""
    import grpc_tools
    from grpc_tools import protoc

    files = sorted((root / "sessiond" / "v1").glob("*.proto"))
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    code = protoc.main(
        ["protoc", f"-I{root}", f"-I{well_known}", f"--python_out={out}", f"--pyi_out={out}", *map(str, files)]
    )
    if code != 0:
        raise RuntimeError(f"protoc ended with {code}")
    for package in (out / "sessiond", out / "sessiond" / "v1"):
        (package / "__init__.py").touch()
    (out / "sessiond" / "py.typed").touch()


class StubsHook(BuildHookInterface):  # type: ignore[type-arg, misc]  # hatchling is there while building only
    """Adds the stubs to a wheel and the schema to a source distribution."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = schema_root(Path(self.root))
        if self.target_name == "sdist":
            for file in (root / "sessiond" / "v1").glob("*.proto"):
                build_data["force_include"][str(file)] = f"proto/sessiond/v1/{file.name}"
            return
        self.out = Path(tempfile.mkdtemp())
        generate(root, self.out)
        include = "force_include_editable" if version == "editable" else "force_include"
        build_data[include][str(self.out / "sessiond")] = "sessiond"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if self.target_name != "sdist":
            shutil.rmtree(self.out)
