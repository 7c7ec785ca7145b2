"""HTTP to clients: the API, the admin port, reload and shutdown.

app.py               both ports, reloads, and an orderly shutdown
api.py               the handler of every request to the API; models.py the list of models
admin.py             /metrics, /healthz and /readyz
reload.py            reloads of the routes file

client_keys.py       the keys that clients send (`server.keys`)
client_limits.py     the limits of one key; shared_rates.py its rates, shared by all workers
client_address.py    the address of a client, also behind proxies

listening.py         listening sockets; descriptors.py the limit of open files
http_server.py       the connections of all clients
http_protocol.py     one connection; request_parser.py cuts its bytes into requests
request.py           a request; request_headers.py, request_body.py, request_ids.py its parts
response.py          the response to a client
"""
