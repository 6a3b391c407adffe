"""An option that takes one value is given once: the parser would take the last one and drop the others in silence."""

from __future__ import annotations

from collections import Counter
from typing import Any

from typer.core import TyperCommand

from kdbench.errors import KdbenchError


class OnceCommand(TyperCommand):
    """A command that refuses an option given again, unless it is repeatable or a switch."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As every command, after counting which options are there."""
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        for parameter, times in Counter(order).items():
            single = parameter.param_type_name == "option" and not (
                getattr(parameter, "multiple", False) or getattr(parameter, "is_flag", False)
            )
            if times > 1 and single:
                raise KdbenchError(f"{parameter.opts[-1]} was given {times} times", "it takes one value")
        return super().parse_args(ctx, args)
