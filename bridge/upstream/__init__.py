"""HTTP and WebSockets to model servers.

client.py            requests, authenticated as their route requires; auth/ makes computed credentials
connection_pool.py   connections that are kept between requests; keep_alive.py how long
origin.py            scheme, host and port, with TLS and proxy; resolver.py looks up hosts, tls.py makes TLS
timeouts.py          the timeouts of a route

http_connection.py   one connection: request_head.py writes requests, response_parser.py parses responses
response.py          the response of an upstream; content_encoding.py decompresses its body
websocket.py         WebSockets; websocket_connect.py their opening handshake
errors.py            exceptions to `UpstreamError`
"""
