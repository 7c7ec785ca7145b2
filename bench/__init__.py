"""How fast the bridge is, beside proxies that forward bytes or translate: `make bench`.

Each proxy runs alone on one core, in turns with the others; what they cost is the CPU time that the system
counts, which holds on a noisy machine. Everything stays on the loopback and ends by itself.
"""
