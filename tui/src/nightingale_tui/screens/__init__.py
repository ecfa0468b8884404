"""One module per screen or dialog. They show state and post what was asked; the controller fetches."""
