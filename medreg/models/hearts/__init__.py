"""Models of hearts over the cycle and over the years, given conditions such as age and sex."""
