"""A benchmark of the bridge beside proxies that forward bytes or translate: `make bench`.

One proxy runs at a time, alone on one core, in turns with the others. The main figure is CPU time as the
kernel counts it for the tree of the proxy's processes: it depends least on what else the machine does. All
traffic stays on the loopback interface, and every load ends by itself.
"""
