"""Parts of screens. Each owns its messages; none knows HTTP."""
