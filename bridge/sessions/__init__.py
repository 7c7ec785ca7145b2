"""Sessions of model servers, kept for the next turn of a conversation.

pool.py              SessionPool: acquires, keeps and closes sessions
store.py             the interface of stores: memory.py in this process, redis_store.py shared by bridges
"""
