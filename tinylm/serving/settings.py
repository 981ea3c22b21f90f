"""What a server allows."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ServerSettings"]


@dataclass(frozen=True)
class ServerSettings:
    """Who may ask for how much.

    name: the model's, in requests and answers. api_key: what `Authorization: Bearer` must carry; None: nothing.
    hosts: the names that the Host header may carry, without a port; None: any. Without that check, a page of a
    stranger could have its own name point to 127.0.0.1, and ask as if it were the chat page.

    max_tokens: of one text. max_prompt_tokens: of one prompt. max_texts: prompts times choices of a request, or inputs.
    max_body: bytes. max_active: requests that are worked on at once. max_waiting: those that wait for that; one more
    is refused. max_connections: open at once. patience: seconds for a client to send its request, or to take what is
    sent to it. grace: seconds for requests to end when the server stops.
    """

    name: str
    api_key: str | None = None
    hosts: tuple[str, ...] | None = None
    max_tokens: int = 4096
    max_prompt_tokens: int = 32768
    max_texts: int = 128
    max_body: int = 4 << 20
    max_active: int = 8
    max_waiting: int = 128
    max_connections: int = 512
    patience: float = 30.0
    grace: float = 30.0
