"""Write `notes.ipynb` from `notes.py`: a cell for each part behind a `# %%`, without outputs.

python examples/make_notebook.py
"""

from pathlib import Path

import nbformat

HERE = Path(__file__).parent
TEXT = " [markdown]\n"


def notebook(script: str) -> str:
    """Return the notebook's JSON. The same script gives the same bytes."""
    cells = [cell(part, f"cell-{number}") for number, part in enumerate(script.split("# %%")[1:], 1)]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return nbformat.writes(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})) + "\n"


def cell(part: str, name: str) -> nbformat.NotebookNode:
    if part.startswith(TEXT):
        lines = part.removeprefix(TEXT).strip().splitlines()
        return nbformat.v4.new_markdown_cell(
            "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines), id=name
        )
    return nbformat.v4.new_code_cell(part.strip(), id=name)


if __name__ == "__main__":
    (HERE / "notes.ipynb").write_text(notebook((HERE / "notes.py").read_text()))
