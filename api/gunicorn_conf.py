"""How gunicorn serves the API: `gunicorn --config python:api.gunicorn_conf`. The address comes from the caller.

No preloading: every worker process makes its own application, hence its own database connections. None of them
reconciles; that is the business of `python -m worker`.

A follower (`follow=true`) holds a thread while it follows. So there are threads for as many followers as a process
takes (`api.followers.MOST_FOLLOWERS`) and 16 more, which followers never get.
"""

from typing import Any

from api.context import EXTENSION
from api.followers import MOST_FOLLOWERS

worker_class = "gthread"
workers = 2
threads = MOST_FOLLOWERS + 16
timeout = 60
graceful_timeout = 15
keepalive = 5
preload_app = False
control_socket_disable = True  # its default path is shared by all installations of a user


def post_worker_init(worker: Any) -> None:
    """Followers end when their process is asked to: it waits for the requests in hand, and they would never end."""
    worker.wsgi.extensions[EXTENSION].followers.ended = lambda: not worker.alive
