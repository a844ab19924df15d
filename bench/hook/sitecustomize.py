"""The recorder that one would write instead: each event a line of JSON with the stack, from site on.

The benchmarks put this folder on PYTHONPATH.
"""

import os
import sys

sys.path.insert(0, os.environ["COST_CHILD"])
from cost_child import install

install("json-stack")
