"""One exchange over the network: upstream calls, and their bytes to the client.

forwarder.py         Forwarder: a client's request, from the exchange to the last byte
client_response.py   the interface of the response to the client
response_pipe.py     the path of one upstream call's bytes; keepalive.py comments in a silent stream
outcomes.py          the end of an exchange: its record and the client's response

concurrency.py       requests that run at once or wait (`limits`)
callout_runner.py    the callouts of upstream calls
dispatch.py          a replica for each upstream request; retry.py when a request is sent again
replicas.py          the replicas of a route, and evictions; replica_sets.py those of all routes
replica_response.py  a response that reports its end to the replica set
health.py            health checks of replicas
fallback.py          the route after a route that failed
model_lists.py       the upstreams' own lists of models
"""
