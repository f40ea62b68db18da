"""Complete networks, built as the papers specify them."""
