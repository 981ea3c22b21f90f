"""Errors as OpenAI's clients know them: {"error": {"message", "type", "param", "code"}}."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from tinylm.errors import TinylmError

__all__ = ["ApiError", "error_body", "error_response", "handlers"]

TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """A request that is refused. param: the field to blame; code: a word for programs."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None):
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code


def error_body(status: int, message: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """What a client is told."""
    kind = TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_response(error: Exception) -> JSONResponse:
    """The response to an error. What is no mistake of the client's is not told: it is for the log."""
    headers = {"Retry-After": "1"} if isinstance(error, ApiError) and error.status == 429 else None
    if isinstance(error, ApiError):
        body = error_body(error.status, error.message, error.param, error.code)
        return JSONResponse(body, error.status, headers)
    if isinstance(error, TinylmError):  # a text that the tokenizer cannot express, a setting out of its range
        return JSONResponse(error_body(400, str(error)), 400)
    if isinstance(error, HTTPException):  # no such path, no such method
        return JSONResponse(error_body(error.status_code, error.detail), error.status_code, error.headers)
    return JSONResponse(error_body(500, "the server failed; its log tells more"), 500)


async def _handle(request: Request, error: Exception) -> JSONResponse:
    return error_response(error)


handlers = {ApiError: _handle, TinylmError: _handle, HTTPException: _handle, Exception: _handle}
