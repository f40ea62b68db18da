"""Reports as one self-contained HTML file: sortable tables and interactive charts, offline."""
