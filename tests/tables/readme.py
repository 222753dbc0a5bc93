"""The section of README.md that loads vectors into databases."""

import re

import suite

HEADING = "### Into a vector database"
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(language: str) -> list[str]:
    """Returns the section's blocks of code in a language."""
    _, _, section = (suite.ROOT / "README.md").read_text().partition(HEADING)
    section, _, _ = section.partition("\n##")
    return [code for found, code in FENCED.findall(section) if found == language]


def commands(of: str) -> list[str]:
    """Returns the commands of the section's console block that has a command of this program."""
    [block] = [block for block in blocks("console") if f"$ {of} " in block]
    return [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]
