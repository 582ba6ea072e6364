"""Sphinx reads this. A warning is an error: sphinx-build -W --keep-going -b html docs docs/_build."""

import sys
from pathlib import Path

import sightline

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "Sightline"
author = "The Sightline developers"
copyright = author
version = release = sightline.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "from_registry",
    "metrics_page",
    "readable_docstrings",
]
exclude_patterns = ["_build", "generated"]

html_theme = "furo"
html_title = f"Sightline {version}"
html_static_path = ["static"]
html_css_files = ["wrap.css"]

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
default_role = "code"
