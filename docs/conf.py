"""How sphinx makes the site of `make docs`, from the repository's pages as they are."""

from __future__ import annotations

import caffe_viz

project = "caffe_viz"
author = "The caffe_viz authors"
copyright = author  # sphinx's name
release = caffe_viz.__version__
root_doc = "docs/index"
include_patterns = ["docs/**", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "prototxt/README.md"]
exclude_patterns = [".*", "out"]  # nor looked through

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
myst_heading_anchors = 4
myst_enable_extensions = ["html_image"]
nb_execution_mode = "off"  # the tour holds its outputs
default_role = "code"  # docstrings have names between single backticks
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"
autosummary_generate = False

html_theme = "furo"
html_title = f"caffe_viz {release}"
html_show_sphinx = False
html_copy_source = False
html_show_search_summary = False  # a browser fetches none from files
