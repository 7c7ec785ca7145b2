"""Responses of upstreams: bytes in, deltas out.

response_decoder.py        ResponseDecoder: one response, of any kind and status
stream_decoder.py          a streaming body: frames, checked by the rules of the stream
body_decoder.py            a non-streaming body, and the body of an HTTP error
frame_document.py          the document of a frame or body
frame_template.py          frames that differ in their text alone are not parsed as a whole

response_reader.py         ResponseReader: frames or bodies to deltas, by the slots of a rule
choice_state.py            one choice of a response; text_filters.py, reasoning_splitter.py its text
values.py, usage_counts.py what slots find, as text and as counts
openai_rest.py             members of OpenAI's format that no slot reads
finish_failure.py          the error of a finish reason that reports a failure
embeddings.py, images.py, rerank.py: readers of these endpoints

completion_passthrough.py  OpenAI's own completions are forwarded, normalized where necessary
stream_passthrough.py      the same for OpenAI's own streams
completion_fast_path.py    a completion with one text is encoded without deltas
"""
