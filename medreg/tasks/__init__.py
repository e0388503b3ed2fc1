"""Lightning modules, thin: steps, logging, optimisers."""
