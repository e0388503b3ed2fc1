"""A run as its folder holds it: record, identity, sweep, and the trained model with how it is meant to be used."""
