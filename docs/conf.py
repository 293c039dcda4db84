"""How Sphinx builds the documentation site: ``make docs``."""

project = "litellm-accel"
copyright = "litellm-accel contributors"
extensions = ["myst_parser"]
myst_heading_anchors = 3  # pages link to each other's headings as on GitHub
html_theme = "furo"
html_title = project
