"""gunicorn for the API as a service: gunicorn --config deploy/gunicorn.conf.py 'api.wsgi:create()'.

The house's values come with the package; what an operator wants different is set below them.
"""

from api.gunicorn_conf import *  # noqa: F403
from orchestrator.settings import read_settings

bind = read_settings().api_bind
accesslog = None  # "-" writes every request to the journal
