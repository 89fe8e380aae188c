"""Griffe takes `EDGE: ClassVar = …` for a field of the dataclass: only `ClassVar[…]` is a class variable to it."""

from typing import Any

import griffe


class ClassVariables(griffe.Extension):
    """Leaves out what is annotated with a bare `ClassVar`, so that it stands in no signature."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Look at one attribute, as it is found."""
        if str(attr.annotation) == "ClassVar" and attr.parent is not None:
            del attr.parent.members[attr.name]
