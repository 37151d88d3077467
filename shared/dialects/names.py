"""The names of a model's layers: as they were, where Keras 3 takes them, and each once. Pure."""

import re
from dataclasses import dataclass, field
from typing import Any

from shared.allowlist.lookup import snake
from shared.dialects.findings import Findings

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_NAME_MOST = 64


@dataclass
class Names:
    """The names of one model's layers."""

    found: Findings
    taken: set[str] = field(default_factory=set)

    def free(self, wanted: Any, stem: str = "layer") -> str:
        """Return the name, or one like it that is free and allowed."""
        given = wanted if isinstance(wanted, str) and wanted else stem
        name = given
        if not _NAME.fullmatch(given) or ".." in given or given.endswith("."):
            name = re.sub(r"\.\.+", ".", re.sub(r"[^A-Za-z0-9_.-]", "_", given))[:_NAME_MOST].rstrip(".") or stem
        base, number = name[: _NAME_MOST - 5], 0
        while name in self.taken:
            number += 1
            name = f"{base}_{number}"
        self.taken.add(name)
        if name != given and isinstance(wanted, str):
            self.found.changed("Layers were renamed, because Keras 3 takes no such names or no name twice", given)
        return name

    def give(self, layer: dict[str, Any]) -> None:
        """Give a layer its name, or one like it that is free."""
        config = layer.get("config")
        if isinstance(config, dict):
            config["name"] = self.free(config.get("name"), snake(str(layer.get("class_name"))))
