"""How gunicorn serves the API: `gunicorn --config python:api.gunicorn_conf`. The address comes from the caller.

No preloading: every worker process makes its own application, hence its own database connections. None of them
reconciles; that is the business of `python -m worker`.
"""

worker_class = "gthread"
workers = 2
threads = 8
timeout = 60
graceful_timeout = 15
keepalive = 5
preload_app = False
control_socket_disable = True  # its default path is shared by all installations of a user
