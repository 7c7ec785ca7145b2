"""Routes: the declared keys of a file (spec), their compilation (compile), the results (rules), the table.

table.py             the route table: a file's text to routes, a model's name to its route
fallbacks.py         the links from routes to their fallbacks
route_warnings.py    warnings about one route; table_warnings.py about a file as a whole
"""
