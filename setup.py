"""Wheels with the workflow in them: files of the checkout's top, copied into the package when one is built."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

PROJECT = (
    "Snakefile",
    "workflow/*/*",
    "profiles/*/*",
    "reports/published.yaml",
    "reports/report.typ",
    "reports/references.bib",
    "docs/deviations.md",
    "dvc.yaml",
    ".dvc/plots/*",
    "params.yaml",
    "demo/params.yaml",
    "examples/*/params*.yaml",
    "examples/*/published/**/*",
)
"""Patterns of what `dualhead run` and `dualhead init` need; they find it in the package's folder `project`."""


class BuildWithProject(build_py):
    """Builds the package with the workflow's files in its folder `project`; an editable one uses the checkout's own."""

    def run(self) -> None:
        """Build the package, and copy the project into it."""
        super().run()
        for source, target in [] if self.editable_mode else self.project_files():
            self.mkpath(str(Path(target).parent))
            self.copy_file(source, target)

    def project_files(self) -> list[tuple[str, str]]:
        """Return (path in the checkout, path in the build) of each file."""
        found = sorted({path for it in PROJECT for path in Path().glob(it) if path.is_file()})
        folder = Path(self.build_lib, "dualhead", "project")
        return [(str(path), str(folder / path)) for path in found]

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Return the path of each file of the build, as setuptools asks."""
        return super().get_outputs(include_bytecode) + [it for _, it in self.project_files()]


setup(cmdclass={"build_py": BuildWithProject})
