"""``verify --component proxy``: a stock and an accelerated proxy, asked the same over HTTP, and compared."""
