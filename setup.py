"""What pyproject.toml cannot say: every build begins with an empty folder.

setuptools copies the packages to build/lib and packs all that lies there. `pip install` of a clone leaves that folder
behind, so a module that was removed or renamed since would go on being installed.
"""

import shutil

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildAnew(build_py):
    """Copies the packages to a folder in which nothing is left of an earlier build."""

    def run(self) -> None:
        """See the class."""
        if not self.editable_mode:
            shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


setup(cmdclass={"build_py": BuildAnew})
