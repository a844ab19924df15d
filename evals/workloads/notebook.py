"""nbconvert executes a notebook with pandas and a figure, and makes a page of it."""

import subprocess
import sys

import nbformat
from nbformat import v4

CELLS = (
    "%matplotlib inline\nimport pandas as pd\nframe = pd.DataFrame({'a': range(50)})\nframe.describe()",
    "!echo from the shell",
    "frame.a.cumsum().plot()",
    "import os\nos.getcwd(), len(os.listdir('.'))",
)
notebook = v4.new_notebook(cells=[v4.new_code_cell(text) for text in CELLS])
nbformat.write(notebook, "work.ipynb")
subprocess.run([sys.executable, "-m", "ipykernel", "install", "--sys-prefix"], check=True)
command = [sys.executable, "-m", "nbconvert", "--execute", "--to", "html", "work.ipynb"]
subprocess.run(command, check=True)
