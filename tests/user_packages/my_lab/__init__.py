"""What a user keeps outside the repository: a sampler, a network, a generative model, and what they show."""
