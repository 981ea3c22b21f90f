"""A model behind HTTP: OpenAI's API as an ASGI app, and a chat page. Floor 8; needs the extra `serve`."""

from .app import create_app
from .server import serve
from .settings import ServerSettings

__all__ = ["ServerSettings", "create_app", "serve"]
