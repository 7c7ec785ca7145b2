"""Ten thousand streams with faults, clients that disconnect, reloads and scrapes: `make soak`."""
