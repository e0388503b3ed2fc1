"""Parts that several registration networks share."""
