"""For a WSGI server of one's own: `gunicorn -k gthread --threads 64 api.wsgi:app`."""

from api.app import create_app
from shared import log, settings

_settings = settings.load()
log.configure(_settings, "api")
app = create_app(_settings)
