"""Griffe knows how a dataclass is made, and not that a message is made in the same way."""

from typing import Any

import griffe

BASES = {"Message", "Request"}
"""Of the structs among the public names."""


class Structs(griffe.Extension):
    """Has griffe find the constructors of messages, which are those of dataclasses with the same fields."""

    def on_class_instance(self, *, cls: griffe.Class, **_: Any) -> None:
        """Look at one class, as it is found."""
        if not BASES.isdisjoint(map(str, cls.bases)):
            cls.decorators.append(
                griffe.Decorator(griffe.ExprName("dataclasses.dataclass"), lineno=None, endlineno=None)
            )

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Leave `EDGE: ClassVar = …` out of the signature: only `ClassVar[…]` is a class variable to griffe."""
        if str(attr.annotation) == "ClassVar" and attr.parent is not None:
            del attr.parent.members[attr.name]
