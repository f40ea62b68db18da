"""Spiking networks, their neurons, the reversible engine, and the rules that train them."""
