"""Metrics and logs.

request_log.py       the metrics and the log line of one request
instruments.py       the metrics: names, help texts, labels, buckets
metrics.py           the metrics of one process; series.py their numbers in one array
exposition.py        the text of /metrics
logging.py           the log: one line for each event; line_writer.py the thread that writes the lines
"""
