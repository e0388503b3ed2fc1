"""Sampling from a posterior by stochastic-gradient Markov chains: samplers, the loop, summaries and diagnostics."""
