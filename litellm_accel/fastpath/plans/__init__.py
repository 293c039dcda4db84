"""How a call that stock served, watched, becomes the plan that serves the next ones."""
